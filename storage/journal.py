"""The promise journal: what this node promised in every group, durable with one sync a round.

`promises.journal` only grows; when it has doubled since it was last written whole, the round that
is due is written as a new file that replaces it. Its bytes are told in storage/promises.py.

The life of a round, in the driver's hands: `put` …, `begin_round`, `ticket.run` in a thread,
`finish_round`. Whether a round comes before or after a sync of logs is the caller's to decide:
where something grows, logs first, then what speaks of it; where it shrinks, the journal first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from storage.disk import Disk, DiskFull, File, Missing
from storage.errors import JournalExists, JournalForeign, JournalMissing
from storage.promises import Content, Facts, GroupId, Promise, decode_journal, encode_round

FILE_NAME = "promises.journal"

REWRITE_BYTES_MIN = 1 << 16
"""A smaller journal is not written whole, so that one of few groups is not at every other round."""


def read_journal(disk: Disk, data_directory: str) -> Content:
    """Return what the journal on disk holds; nothing is changed.

    Raises:
        JournalMissing: there is none.
        JournalDamaged: it cannot be trusted; says where.
        NewerFormat: a later release wrote it.
        DiskError: it cannot be read.
    """
    path = f"{data_directory}/{FILE_NAME}"
    try:
        return decode_journal(path, disk.read_file(path))
    except Missing:
        raise JournalMissing(path) from None


@dataclass(slots=True)
class JournalTicket:
    """One round: made by `begin_round`, run once, anywhere, given back to `finish_round`."""

    disk: Disk
    data_directory: str
    file: File
    round: int
    changes: dict[GroupId, Promise | None]
    facts: Facts | None
    """The node's facts, if they change with this round."""
    whole: tuple[dict[GroupId, Promise], Facts] | None
    """Everything, if the file is due to be written anew."""
    is_replaced: bool = False
    is_done: bool = False

    def run(self) -> None:
        """Block until the round is on disk. Touches no state of the journal.

        Raises:
            SyncFailed: stop the node; never retry.
            DiskFull: nothing was written; it may be run again once there is room.
            DiskError: the disk failed; the round must not be taken as written.
        """
        path = f"{self.data_directory}/{FILE_NAME}"
        if self.whole is not None and not self.is_replaced:
            promises, facts = self.whole
            try:
                self.disk.replace(path, encode_round(self.round, promises, facts, whole=True))
                self.is_replaced = True
            except DiskFull:
                pass  # There may still be room for the round alone.
        if self.is_replaced:
            self.disk.sync_directory(self.data_directory)
            self.file = self.disk.open(path)
        else:
            self.file.append((encode_round(self.round, self.changes, self.facts),))
            self.file.sync()
        self.is_done = True


class Journal:
    """The promises of all groups of one node. All but `ticket.run` is done in one thread.

    `promises`, `facts` and `round` are what is on disk for certain: of the last finished round.
    Do not change them; `put`, `remove` and `put_facts` do, from the end of the next round on.
    """

    def __init__(self, disk: Disk, data_directory: str, content: Content) -> None:
        self.promises = content.promises
        self.facts = content.facts
        self.round = content.round
        self.warnings = _warnings(f"{data_directory}/{FILE_NAME}", content)
        """What opening it found and mended, one sentence each."""
        self._disk = disk
        self._data_directory = data_directory
        self._file = disk.open(f"{data_directory}/{FILE_NAME}")
        self._whole_bytes = content.whole_bytes
        self._changes: dict[GroupId, Promise | None] = {}
        self._facts = content.facts
        """The newest; perhaps not yet in a round."""
        self._facts_changed = False
        self._under_way: JournalTicket | None = None

    @classmethod
    def found(
        cls,
        disk: Disk,
        data_directory: str,
        directory_id: bytes,
        promises: Mapping[GroupId, Promise] = MappingProxyType({}),
    ) -> Journal:
        """Make the journal of a new data directory, durably. Blocks.

        One that a founding left behind, with nothing in it yet but what a founding puts there,
        is replaced.

        Args:
            disk: where to.
            data_directory: of which node.
            directory_id: 16 bytes, made with the directory.
            promises: of the groups that the founder makes.

        Raises:
            JournalExists: there is one with rounds, so this directory is not new.
            JournalDamaged, NewerFormat, DiskError, SyncFailed: as `open`.
        """
        path = f"{data_directory}/{FILE_NAME}"
        try:
            before = read_journal(disk, data_directory)
        except JournalMissing:
            pass  # As it should be.
        else:
            if before.round > 0:
                raise JournalExists(path)
        content = Content(Facts(directory_id), dict(promises))
        _write_whole(disk, data_directory, content)
        disk.sync_directory(data_directory)
        return cls(disk, data_directory, content)

    @classmethod
    def open(cls, disk: Disk, data_directory: str, directory_id: bytes) -> Journal:
        """Open the journal and make durable what is read from it. Blocks.

        A torn last round is cut and a bad copy is written anew; `warnings` says so.

        Raises:
            JournalMissing, JournalDamaged: do not start; only as a new directory may the node
                rejoin. Nothing was changed.
            JournalForeign: it belongs to another directory; nothing was changed.
            NewerFormat: a later release wrote it; nothing was changed.
            DiskError: it cannot be read, or (DiskFull) not be mended for want of room.
            SyncFailed: stop.
        """
        path = f"{data_directory}/{FILE_NAME}"
        content = read_journal(disk, data_directory)
        if content.facts.directory_id != directory_id:
            raise JournalForeign(path, content.facts.directory_id, directory_id)
        if content.torn_bytes or content.repaired:
            _write_whole(disk, data_directory, content)
        else:
            # The last round may stand in the page cache only, and a failed sync may have left it
            # there as clean: written again, it is synced for certain.
            file = disk.open(path)
            file.rewrite(content.last_position)
            file.sync()
        # The end of the process may have come between a replaced file and the sync of its name.
        disk.sync_directory(data_directory)
        return cls(disk, data_directory, content)

    def put(self, group: GroupId, promise: Promise) -> None:
        """Let the next round hold this promise; of several, the last one counts."""
        self._must_have_begun()
        self._changes[group] = promise

    def remove(self, group: GroupId) -> None:
        """Let the next round forget a group whose topic id is gone for good."""
        self._must_have_begun()
        self._changes[group] = None

    def put_facts(self, *, memory: bool, boot_id: bytes, clean: bool = False) -> None:
        """Let the next round hold how the node runs.

        Due at every start, in a round that ends before the first acknowledgement, and with
        `clean` as the last act of a shutdown, after all else was synced.
        """
        assert len(boot_id) == 16, "a boot id is 16 bytes"
        self._facts = Facts(self._facts.directory_id, memory, boot_id, clean)
        self._facts_changed = True

    def _must_have_begun(self) -> None:
        assert not self._facts.clean, "the mark of a clean end goes first: put_facts"

    @property
    def is_under_way(self) -> bool:
        """Whether a round was begun and has not finished."""
        return self._under_way is not None

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return self._file.size

    def begin_round(self) -> JournalTicket | None:
        """Return a round of all that was put since the last one began.

        None if there is nothing, or while a round is under way: ask again when it has finished.
        """
        if self._under_way is not None or not (self._changes or self._facts_changed):
            return None
        ticket = JournalTicket(
            disk=self._disk,
            data_directory=self._data_directory,
            file=self._file,
            round=self.round + 1,
            changes=self._changes,
            facts=self._facts if self._facts_changed else None,
            whole=None,
        )
        if self._file.size > max(2 * self._whole_bytes, REWRITE_BYTES_MIN):
            ticket.whole = (_changed(self.promises, ticket.changes), self._facts)
        self._under_way = ticket
        self._changes = {}
        self._facts_changed = False
        return ticket

    def finish_round(self, ticket: JournalTicket) -> None:
        """Take over what a ticket that has run put on disk."""
        assert ticket is self._under_way, "rounds finish in the order in which they begin"
        assert ticket.is_done, "a round counts only once it is on disk"
        self._under_way = None
        self._file = ticket.file
        self.round = ticket.round
        for group, promise in ticket.changes.items():
            _set(self.promises, group, promise)
        if ticket.facts is not None:
            self.facts = ticket.facts
        if ticket.is_replaced:
            self._whole_bytes = ticket.file.size

    def close(self) -> None:
        """No more rounds. What no finished round holds is forgotten."""
        self._file.close()


def _set(promises: dict[GroupId, Promise], group: GroupId, promise: Promise | None) -> None:
    if promise is None:
        promises.pop(group, None)
    else:
        promises[group] = promise


def _changed(
    promises: dict[GroupId, Promise], changes: dict[GroupId, Promise | None]
) -> dict[GroupId, Promise]:
    result = dict(promises)
    for group, promise in changes.items():
        _set(result, group, promise)
    return result


def _write_whole(disk: Disk, data_directory: str, content: Content) -> None:
    """Replace the file by one round; the caller syncs the directory."""
    data = encode_round(content.round, content.promises, content.facts, whole=True)
    disk.replace(f"{data_directory}/{FILE_NAME}", data)
    content.whole_bytes = len(data)


def _warnings(path: str, content: Content) -> list[str]:
    warnings = [
        f"{path}: one copy of round {number} was bad and was mended from the other"
        for number in content.repaired
    ]
    if content.torn_bytes:
        warnings.append(
            f"{path}: the round after {content.round} was not finished; "
            f"{content.torn_bytes} bytes were cut"
        )
    return warnings
