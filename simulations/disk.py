"""A disk in memory that loses at a crash whatever a real one may lose.

What was synced stays. Of what was not, a crash keeps any subset: each write whole, not at all,
or torn at any byte; each name made, renamed or removed, or not; a torn write that made the file
longer may leave zeros instead. A sync that fails leaves what it covered readable and marks it
clean, as Linux does, so that a second sync does not save it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from storage.disk import (
    Disk,
    DiskError,
    DiskFull,
    File,
    FileCache,
    Lock,
    Locked,
    Missing,
    SyncFailed,
    parent,
)
from storage.types import Buffer

CACHED_FILES_MAX = 4


class SimulatedCrash(Exception):
    """The machine stops here; no code of the node may catch it."""


@dataclass(slots=True)
class _Write:
    """A change of a file that no sync has covered: bytes at a position, or a cut if None."""

    position: int
    data: bytes | None
    clean: bool = False
    """A failed sync covered it: later syncs pass it by."""


def _apply(content: bytearray, position: int, data: bytes | None) -> None:
    if data is None:
        del content[position:]
        return
    content.extend(bytes(max(0, position - len(content))))
    content[position : position + len(data)] = data


@dataclass(slots=True)
class _Inode:
    """One file: what programs see, what is safely on disk, and the changes in between."""

    cached: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    unsynced: list[_Write] = field(default_factory=list)

    def change(self, position: int, data: bytes | None) -> None:
        _apply(self.cached, position, data)
        self.unsynced.append(_Write(position, data))

    def sync(self) -> None:
        clean: list[_Write] = []
        for write in self.unsynced:
            if write.clean:
                clean.append(write)
                continue
            _apply(self.durable, write.position, write.data)
            # Every write reaches to the end of the file: what was to be there before is over.
            clean = [
                _Write(one.position, one.data[: write.position - one.position], clean=True)
                for one in clean
                if one.data is not None and one.position < write.position
            ]
        self.unsynced = clean

    def crash(self, chance: random.Random) -> None:
        for write in self.unsynced:
            fate = chance.randrange(4)
            if fate == 0:
                continue
            if fate == 1 and write.data:
                self._tear(write.position, write.data, chance)
            else:
                _apply(self.durable, write.position, write.data)
        self.unsynced = []
        self.cached = bytearray(self.durable)

    def _tear(self, position: int, data: bytes, chance: random.Random) -> None:
        kept = data[: chance.randrange(len(data))]
        longer = chance.random() < 0.5
        _apply(self.durable, position, kept)
        if longer:  # The size reached the disk, the rest of the bytes did not.
            self.durable.extend(bytes(max(0, position + len(data) - len(self.durable))))


class _Directory:
    """Names: as programs see them, as they are on disk, and what was done in between."""

    def __init__(self) -> None:
        self.names: _Names = {}
        self.durable: _Names = {}
        self.unsynced: list[Callable[[_Names], None]] = []

    def change(self, change: Callable[[_Names], None]) -> None:
        change(self.names)
        self.unsynced.append(change)

    def add(self, name: str, node: _Inode | _Directory) -> None:
        def change(names: _Names) -> None:
            names[name] = node

        self.change(change)

    def remove(self, name: str) -> None:
        def change(names: _Names) -> None:
            names.pop(name, None)

        self.change(change)

    def rename(self, old: str, new: str) -> None:
        def change(names: _Names) -> None:
            if old in names:
                names[new] = names.pop(old)

        self.change(change)

    def sync(self) -> None:
        for change in self.unsynced:
            change(self.durable)
        self.unsynced = []

    def crash(self, chance: random.Random) -> None:
        for change in self.unsynced:
            if chance.random() < 0.5:
                change(self.durable)
        self.unsynced = []
        self.names = dict(self.durable)
        for node in self.names.values():
            node.crash(chance)


_Names: TypeAlias = dict[str, _Inode | _Directory]


class SimulatedFile:
    """An open file of a SimulatedDisk."""

    def __init__(self, disk: SimulatedDisk, path: str, inode: _Inode) -> None:
        self._disk = disk
        self._path = path
        self._inode = inode
        self._start = disk.starts
        self._writable = True
        self.size = len(inode.cached)

    def _must_be_open(self) -> None:
        if self._start != self._disk.starts:
            raise DiskError(self._path, "the file was opened before the crash")

    def append(self, parts: Sequence[Buffer]) -> None:
        """Write all parts at the end, or raise DiskError and leave the file as it was."""
        self._must_be_open()
        if not self._writable:
            raise DiskError(self._path, "the file is closed")
        data = b"".join(parts)
        self._disk.step()
        if len(data) > self._disk.bytes_free:
            raise DiskFull(self._path, "no space left on the simulated disk")
        self._disk.bytes_free -= len(data)
        self._inode.change(self.size, data)
        self.size += len(data)

    def read(self, position: int, length: int) -> bytes:
        """Return the bytes there; fewer at the end of the file."""
        self._must_be_open()
        return bytes(self._inode.cached[position : position + length])

    def read_if_cached(self, position: int, length: int) -> Buffer | None:
        """Return what `read` would; None while the disk is told to be cold."""
        return None if self._disk.cold else self.read(position, length)

    def rewrite(self, position: int) -> None:
        """Write again what stands from `position` to the end, so that a sync covers it."""
        self._must_be_open()
        if position < self.size:
            self._disk.step()
            self._inode.change(position, bytes(self._inode.cached[position : self.size]))

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes (never longer than it was)."""
        assert size <= self.size, "a file is only ever made longer by appending"
        self._must_be_open()
        self._disk.step()
        self._inode.change(size, None)
        self._disk.bytes_free += self.size - size
        self.size = size

    def sync(self) -> None:
        """Make durable what was written so far. Raises SyncFailed if the disk was told so."""
        self._must_be_open()
        self._disk.step()
        self._disk.sync_count += 1
        if self._disk.syncs_fail:
            for write in self._inode.unsynced:
                write.clean = True
            raise SyncFailed(self._path, "the simulated disk was told to fail")
        self._inode.sync()

    def fileno(self) -> int | None:
        """Return None: there is no descriptor."""
        return None

    def close(self) -> None:
        """No more appends through this handle."""
        self._writable = False


class SimulatedLock:
    """The lock file's holder is this object until it is released or the machine stops."""

    def __init__(self, disk: SimulatedDisk, path: str) -> None:
        self._disk = disk
        self._path = path

    def release(self) -> None:
        """Let others have it; a second call does nothing."""
        if self._disk.locks.get(self._path) is self:
            del self._disk.locks[self._path]


class SimulatedDisk(Disk):
    """A seeded disk. Paths begin with "/"; the root exists.

    Knobs: `bytes_free`, `syncs_fail`, `cold`, `crash_after` (changes and syncs until a
    SimulatedCrash; None for never). After that, call `crash()` or `kill()` and go on.
    """

    def __init__(self, seed: int, *, bytes_free: int = 1 << 40) -> None:
        self._chance = random.Random(seed)
        self._root = _Directory()
        self._bytes_total = bytes_free
        self.bytes_free = bytes_free
        self.syncs_fail = False
        self.cold = False
        self.crash_after: int | None = None
        self.sync_count = 0
        self.starts = 0
        self.locks: dict[str, SimulatedLock] = {}
        self._cache = FileCache(self.open, CACHED_FILES_MAX)

    # ---- what tests and the simulation do to it

    def step(self) -> None:
        """Count one change of the disk, and stop the machine if its time has come."""
        if self.crash_after is not None:
            if self.crash_after <= 0:
                raise SimulatedCrash("the simulated machine stops")
            self.crash_after -= 1

    def crash(self) -> None:
        """Lose power: what was not synced survives in any subset; handles and locks are gone."""
        self._root.crash(self._chance)
        self.kill()

    def kill(self) -> None:
        """End the process only: all that was written stays; handles and locks are gone."""
        self.crash_after = None
        self.starts += 1
        self.locks.clear()
        self._cache = FileCache(self.open, CACHED_FILES_MAX)

    def flip_bit(self, path: str, position: int, bit: int = 0) -> None:
        """Let a bit rot, on disk and in the cache."""
        inode = self._inode(path)
        inode.cached[position] ^= 1 << bit
        if position < len(inode.durable):
            inode.durable[position] ^= 1 << bit

    # ---- the port

    def _find(self, path: str) -> _Inode | _Directory | None:
        node: _Inode | _Directory | None = self._root
        for name in path.strip("/").split("/") if path.strip("/") else []:
            if not isinstance(node, _Directory):
                return None
            node = node.names.get(name)
        return node

    def _inode(self, path: str) -> _Inode:
        node = self._find(path)
        if node is None:
            raise Missing(path, "no such file")
        if not isinstance(node, _Inode):
            raise DiskError(path, "is a directory")
        return node

    def _directory(self, path: str) -> _Directory:
        node = self._find(path)
        if node is None:
            raise Missing(path, "no such directory")
        if not isinstance(node, _Directory):
            raise DiskError(path, "is not a directory")
        return node

    def open(self, path: str, *, create: bool = False) -> File:
        """Open for reading and appending. Raises Missing unless `create`."""
        if create and self._find(path) is None:
            directory = self._directory(parent(path))
            self.step()
            directory.add(path.rpartition("/")[2], _Inode())
        return SimulatedFile(self, path, self._inode(path))

    def open_cached(self, path: str) -> File:
        """Open, or share, one of a few open files: few, so that letting go is exercised."""
        return self._cache.open(path)

    def exists(self, path: str) -> bool:
        """Whether a file or directory has this name."""
        return self._find(path) is not None

    def list_directory(self, path: str) -> list[str]:
        """Return the names in it, sorted."""
        return sorted(self._directory(path).names)

    def make_directory(self, path: str) -> None:
        """Make a directory, not its parents; one that exists is fine."""
        if self.exists(path):
            self._directory(path)
            return
        directory = self._directory(parent(path))
        self.step()
        directory.add(path.rpartition("/")[2], _Directory())

    def rename(self, old: str, new: str) -> None:
        """Rename within one directory, replacing a file of the new name."""
        assert parent(old) == parent(new), "renames stay within one directory"
        if self._find(old) is None:
            raise Missing(old, "no such file")
        target = self._find(new)
        if isinstance(target, _Directory) and target.names:
            raise DiskError(new, "is a directory that is not empty")
        self.step()
        self._directory(parent(old)).rename(old.rpartition("/")[2], new.rpartition("/")[2])
        self._cache.forget(old)
        self._cache.forget(new)

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone already is fine."""
        if self.exists(path):
            self.bytes_free += len(self._inode(path).cached)
            self.step()
            self._cache.forget(path)
            self._directory(parent(path)).remove(path.rpartition("/")[2])

    def remove_tree(self, path: str) -> None:
        """Remove a directory and all below; one that is gone already is fine."""
        if not self.exists(path):
            return
        for name, node in list(self._directory(path).names.items()):
            if isinstance(node, _Directory):
                self.remove_tree(f"{path}/{name}")
            else:
                self.remove(f"{path}/{name}")
        self.step()
        self._directory(parent(path)).remove(path.rpartition("/")[2])

    def sync_directory(self, path: str) -> None:
        """Make the names in it durable. Raises SyncFailed if the disk was told so."""
        directory = self._directory(path)
        self.step()
        self.sync_count += 1
        if self.syncs_fail:
            raise SyncFailed(path, "the simulated disk was told to fail")
        directory.sync()

    def free_bytes(self, path: str) -> int:
        """Return how much more fits."""
        self._directory(path)
        return self.bytes_free

    def total_bytes(self, path: str) -> int:
        """Return what was free at first: names take no room here."""
        self._directory(path)
        return self._bytes_total

    def lock(self, path: str) -> Lock:
        """Take the lock file. Raises Locked if another has it."""
        self.open(path, create=True)
        if path in self.locks:
            raise Locked(path, "is locked by another process")
        taken = self.locks[path] = SimulatedLock(self, path)
        return taken


def one_by_one(runs: Sequence[Callable[[], None]]) -> None:
    """Run what a real node runs in threads side by side: in a world a seed decides the order."""
    for run in runs:
        run()
