"""A sparse index: fixed-size entries in a file, in rising order, the newest still in memory.

Two kinds stand beside every segment, byte for byte Kafka's (OffsetIndex, TimeIndex):
`.index`, 8 bytes: last offset of the indexed batch less the base offset, where the batch begins;
`.timeindex`, 12 bytes: largest timestamp so far, last offset of the batch that holds it, less
the base offset.

Nothing is cached: a look-up reads about 20 entries of 8 bytes from the page cache, which is
less than what the read it serves costs, and memory does not grow with the log.
"""

from struct import Struct

from storage.disk import Disk, Missing

OFFSET_ENTRY = Struct(">ii")
TIME_ENTRY = Struct(">qi")

PENDING_BYTES_MAX = 4096
"""Entries kept in memory before they go to the file: 512 of them stand for 2 MiB of log."""


class SparseIndex:
    """Entries are pairs of integers; both rise from entry to entry."""

    __slots__ = ("_disk", "_entry", "_exists", "_flushed_count", "_pending", "changed", "path")

    def __init__(self, disk: Disk, path: str, entry: Struct) -> None:
        """Raises DiskError. A cut entry at the end of the file is not counted."""
        self._disk = disk
        self._entry = entry
        self._pending = bytearray()
        self.path = path
        self.changed = False
        """Whether a sync of the file is due."""
        try:
            self._flushed_count = disk.open_cached(path).size // entry.size
            self._exists = True
        except Missing:
            self._flushed_count = 0
            self._exists = False

    def __len__(self) -> int:
        return self._flushed_count + len(self._pending) // self._entry.size

    def __getitem__(self, number: int) -> tuple[int, int]:
        size = self._entry.size
        if number < self._flushed_count:
            data = self._disk.open_cached(self.path).read(number * size, size)
            first, second = self._entry.unpack(data.ljust(size, b"\0"))
        else:
            at = (number - self._flushed_count) * size
            first, second = self._entry.unpack_from(self._pending, at)
        return first, second

    def last(self) -> tuple[int, int] | None:
        """Return the newest entry, if there is one."""
        count = len(self)
        return self[count - 1] if count else None

    def append(self, first: int, second: int) -> None:
        """Add an entry beyond the last one; it reaches the file at `flush`."""
        self._pending += self._entry.pack(first, second)
        self.changed = True

    @property
    def crowded(self) -> bool:
        """Whether so much is pending that it should be flushed before more comes."""
        return len(self._pending) >= PENDING_BYTES_MAX

    def count_up_to(self, bound: int, *, field: int) -> int:
        """Return how many entries have `field` (0 or 1) <= bound."""
        low, high = 0, len(self)
        flushed = self._flushed_count
        file = self._disk.open_cached(self.path) if flushed else None
        size, unpack_from = self._entry.size, self._entry.unpack_from
        while low < high:
            middle = (low + high) // 2
            if file is not None and middle < flushed:
                # Should somebody cut the file under us, zeros only lead to a longer walk.
                entry = file.read(middle * size, size).ljust(size, b"\0")
                found: int = unpack_from(entry)[field]
            else:
                found = unpack_from(self._pending, (middle - flushed) * size)[field]
            if found <= bound:
                low = middle + 1
            else:
                high = middle
        return low

    def flush(self) -> None:
        """Write what is pending to the file, which exists afterwards. Raises DiskError."""
        if not self._exists:
            self._disk.open(self.path, create=True).close()
            self._exists = self.changed = True
        if not self._pending:
            return
        file = self._disk.open_cached(self.path)
        if file.size != self._flushed_count * self._entry.size:  # A torn entry at the end.
            file.truncate(self._flushed_count * self._entry.size)
        file.append((self._pending,))
        self._flushed_count += len(self._pending) // self._entry.size
        self._pending = bytearray()

    def keep_rising(self, bound: int, *, field: int) -> None:
        """Keep the entries from the first on that rise and have `field` (0 or 1) <= bound.

        What follows may be what a crash left of unsynced writes: zeros, pieces, old entries.
        An entry of zeros is none: of each pair only the relative offset may be 0.
        """
        size = self._entry.size
        data = self._disk.open_cached(self.path).read(0, self._flushed_count * size)
        count, last = 0, (-1, 0) if field == 0 else (0, -1)
        for entry in self._entry.iter_unpack(data):
            if entry[field] > bound or not (entry[0] > last[0] and entry[1] > last[1]):
                break
            last = entry[0], entry[1]
            count += 1
        if count < len(self):
            self.truncate(count)

    def truncate(self, count: int) -> None:
        """Keep the first `count` entries only. Raises DiskError."""
        self.flush()
        self._disk.open_cached(self.path).truncate(count * self._entry.size)
        self._flushed_count = count
        self.changed = True
