"""The disk, as everything else here sees it: a small synchronous port, and the real one.

Calls block; the driver decides which of them deserve a thread (syncs, cold reads, removals).
Every failure is a `DiskError`, or `SyncFailed`. The simulated disk passes the same contract suite
(tests/contracts/test_disk.py) and loses at a crash whatever the real one may lose.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from storage.types import Buffer

CACHED_FILES_MAX = 256
"""Files kept open for readers of old segments and for indexes; more are reopened when needed."""

IOV_MAX = 1024
"""Most buffers that one pwritev takes (Linux, UIO_MAXIOV)."""


class DiskError(Exception):
    """The disk refused or failed; says which path and why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class DiskFull(DiskError):
    """No space or no quota left; nothing was written. It may end by itself."""


class ReadOnly(DiskError):
    """The file system or the permissions do not let us write."""


class Missing(DiskError):
    """There is no such file or directory."""


class Locked(DiskError):
    """Another process holds the lock."""


class SyncFailed(Exception):
    """A sync failed: what it covered may be lost though it can still be read.

    Never retry: Linux marks the pages clean, so that a second sync would lie. Stop the node.
    It is no DiskError, so that whoever lives with those cannot take it for one.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def disk_error(path: str, error: OSError) -> DiskError:
    """Return the typed form of what the operating system said."""
    reason = error.strerror or str(error)
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return DiskFull(path, reason)
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return ReadOnly(path, reason)
        case errno.ENOENT:
            return Missing(path, reason)
        case _:
            return DiskError(path, reason)


class File(Protocol):
    """An open file that grows at its end.

    After `close`, or after the file was removed, it stays readable for whoever still refers to
    it: the descriptor goes with the last reference, so that a slice being sent stays valid.
    """

    @property
    def size(self) -> int:
        """Length in bytes, as far as this handle appended and truncated it."""

    def append(self, parts: Sequence[Buffer]) -> None:
        """Write all parts at the end, or raise DiskError and leave the file as it was."""

    def read(self, position: int, length: int) -> bytes:
        """Return the bytes there; fewer at the end of the file. May block."""

    def read_if_cached(self, position: int, length: int) -> Buffer | None:
        """Return what `read` would, if that needs no disk; None if it would block."""

    def rewrite(self, position: int) -> None:
        """Write again what stands from `position` to the end, so that a sync covers it.

        After a failed sync the operating system may hold these pages as clean though they
        never reached the disk.
        """

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes (never longer than it was)."""

    def sync(self) -> None:
        """Block until all written so far is on disk. Raises SyncFailed: then stop."""

    def fileno(self) -> int | None:
        """Return the descriptor for sendfile, or None where there is none."""

    def close(self) -> None:
        """No more appends through this handle."""


class FileSlice:
    """A range of a file that can be sent without reading it first."""

    __slots__ = ("file", "length", "position")

    def __init__(self, file: File, position: int, length: int) -> None:
        self.file = file
        self.position = position
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __repr__(self) -> str:
        return f"FileSlice({self.position}, {self.length})"

    def read(self) -> bytes:
        """Return all bytes of the slice; may block. Raises DiskError if the file was cut."""
        data = self.file.read(self.position, self.length)
        if len(data) != self.length:
            raise DiskError(repr(self), "the file ends before the slice does")
        return data

    def read_if_cached(self) -> Buffer | None:
        """Return all bytes if no disk is needed for them, else None."""
        return self.file.read_if_cached(self.position, self.length)


class Lock(Protocol):
    """Proof that this process, and no other, uses a data directory."""

    def release(self) -> None:
        """Let others have it; also happens when the process ends."""


class Disk(Protocol):
    """Files by path. A path's parent directory must exist."""

    def open(self, path: str, *, create: bool = False) -> File:
        """Open for reading and appending. Raises Missing unless `create`."""

    def open_cached(self, path: str) -> File:
        """Open, or share, one of a bounded number of open files."""

    def exists(self, path: str) -> bool:
        """Whether a file or directory has this name."""

    def list_directory(self, path: str) -> list[str]:
        """Return the names in it, sorted."""

    def make_directory(self, path: str) -> None:
        """Make a directory, not its parents; one that exists is fine."""

    def rename(self, old: str, new: str) -> None:
        """Rename within one directory, replacing a file of the new name."""

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone already is fine."""

    def remove_tree(self, path: str) -> None:
        """Remove a directory and all below; one that is gone already is fine."""

    def sync_directory(self, path: str) -> None:
        """Block until the names in it are on disk. Raises SyncFailed: then stop."""

    def free_bytes(self, path: str) -> int:
        """Return how much more fits on the disk that holds `path`."""

    def total_bytes(self, path: str) -> int:
        """Return the size of the disk that holds `path`: what is taken, and what is free."""

    def lock(self, path: str) -> Lock:
        """Take the lock file `path` for this process. Raises Locked if another has it."""

    def write_atomically(self, path: str, data: Buffer) -> None:
        """Replace a file by `data` on disk: afterwards, or after a crash, old or new, whole."""
        self.replace(path, data)
        self.sync_directory(parent(path))

    def replace(self, path: str, data: Buffer) -> None:
        """Replace a file: old or new, whole, after a crash; new once its directory is synced."""
        temporary = f"{path}.tmp"
        self.remove(temporary)
        file = self.open(temporary, create=True)
        try:
            file.append((data,))
            file.sync()
        except DiskFull:
            self.remove(temporary)  # Whoever goes on without it needs the room.
            raise
        finally:
            file.close()
        self.rename(temporary, path)

    def read_file(self, path: str) -> bytes:
        """Return the whole of a small file. Raises Missing."""
        file = self.open(path)
        try:
            return file.read(0, file.size)
        finally:
            file.close()


def parent(path: str) -> str:
    """Return the directory that holds `path`."""
    return path.rpartition("/")[0] or ("/" if path.startswith("/") else ".")


class OsFile:
    """A file of the operating system, written with pwritev and read with pread."""

    __slots__ = ("_descriptor", "_nowait", "_path", "_size", "_writable", "size")

    # A plain attribute, since the hot path reads it for each append.
    size: int

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._writable = True
        self._nowait = True
        self.size = os.fstat(descriptor).st_size

    def __del__(self) -> None:
        os.close(self._descriptor)

    def append(self, parts: Sequence[Buffer]) -> None:
        """Write all parts at the end, or raise DiskError and leave the file as it was."""
        if not self._writable:
            raise DiskError(self._path, "the file is closed")
        total = sum(map(len, parts))
        try:
            written = (
                os.pwrite(self._descriptor, parts[0], self.size)
                if len(parts) == 1
                else os.pwritev(self._descriptor, parts[:IOV_MAX], self.size)
            )
            if written != total:  # A disk about to be full, a signal, or very many parts.
                rest = memoryview(b"".join(parts))
                while written < total:
                    written += os.pwrite(self._descriptor, rest[written:], self.size + written)
        except OSError as error:
            try:
                os.ftruncate(self._descriptor, self.size)
            except OSError:
                pass  # The next append begins at `size` and so overwrites what is left.
            raise disk_error(self._path, error) from error
        self.size += total

    def read(self, position: int, length: int) -> bytes:
        """Return the bytes there; fewer at the end of the file. May block."""
        try:
            data = os.pread(self._descriptor, length, position)
            # One pread returns at most 2 GiB, and less if a signal comes in between.
            while len(data) < length and (
                more := os.pread(self._descriptor, length - len(data), position + len(data))
            ):
                data += more
        except OSError as error:
            raise disk_error(self._path, error) from error
        return data

    def read_if_cached(self, position: int, length: int) -> Buffer | None:
        """Return what `read` would, if that needs no disk; None if it would block."""
        length = max(0, min(length, self.size - position))
        if not self._nowait:
            return self.read(position, length)
        data = bytearray(length)
        try:
            count = os.preadv(self._descriptor, [data], position, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise disk_error(self._path, error) from error
            # Some file systems (in memory, mostly) cannot say; there a read is quick.
            self._nowait = False
            return self.read(position, length)
        return data if count == length else None

    def rewrite(self, position: int) -> None:
        """Write again what stands from `position` to the end, so that a sync covers it."""
        try:
            while position < self.size:
                data = os.pread(self._descriptor, 1 << 20, position)
                if not data:
                    raise DiskError(self._path, f"the file ends at byte {position}")
                position += os.pwrite(self._descriptor, data, position)
        except OSError as error:
            raise disk_error(self._path, error) from error

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes (never longer than it was)."""
        assert size <= self.size, "a file is only ever made longer by appending"
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise disk_error(self._path, error) from error
        self.size = size

    def sync(self) -> None:
        """Block until all written so far is on disk. Raises SyncFailed: then stop."""
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise SyncFailed(self._path, error.strerror or str(error)) from error

    def fileno(self) -> int | None:
        """Return the descriptor for sendfile."""
        return self._descriptor

    def close(self) -> None:
        """No more appends through this handle; the descriptor goes with the last reference."""
        self._writable = False


class OsLock:
    """A flock on an open file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let others have it; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class FileCache:
    """A bounded number of open files, shared by all who ask for one of them; thread-safe."""

    def __init__(self, opener: Callable[[str], File], files_max: int) -> None:
        self._opener = opener
        self._files_max = files_max
        self._files: OrderedDict[str, File] = OrderedDict()
        # Removals run in threads and must make it forget what they remove.
        self._lock = threading.Lock()

    def open(self, path: str) -> File:
        """Return the open file, opened if need be. Raises what the opener raises."""
        with self._lock:
            file = self._files.get(path)
            if file is not None:
                self._files.move_to_end(path)
                return file
            file = self._files[path] = self._opener(path)
            if len(self._files) > self._files_max:
                self._files.popitem(last=False)
            return file

    def forget(self, path: str) -> None:
        """Let go of a file, or of all below a directory, because the name means another now."""
        with self._lock:
            below = f"{path}/"
            for name in [n for n in self._files if n == path or n.startswith(below)]:
                del self._files[name]


class OsDisk(Disk):
    """The disk of this machine."""

    def __init__(self, *, cached_files_max: int = CACHED_FILES_MAX) -> None:
        self._cache = FileCache(self.open, cached_files_max)

    def open(self, path: str, *, create: bool = False) -> File:
        """Open for reading and appending. Raises Missing unless `create`."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        try:
            return OsFile(path, os.open(path, flags, 0o644))
        except OSError as error:
            raise disk_error(path, error) from error

    def open_cached(self, path: str) -> File:
        """Open, or share, one of a bounded number of open files."""
        return self._cache.open(path)

    def exists(self, path: str) -> bool:
        """Whether a file or directory has this name."""
        return os.path.lexists(path)

    def list_directory(self, path: str) -> list[str]:
        """Return the names in it, sorted."""
        try:
            return sorted(os.listdir(path))
        except OSError as error:
            raise disk_error(path, error) from error

    def make_directory(self, path: str) -> None:
        """Make a directory, not its parents; one that exists is fine."""
        try:
            os.mkdir(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise DiskError(path, "is not a directory") from None
        except OSError as error:
            raise disk_error(path, error) from error

    def rename(self, old: str, new: str) -> None:
        """Rename within one directory, replacing a file of the new name."""
        try:
            os.rename(old, new)
        except OSError as error:
            raise disk_error(old, error) from error
        self._cache.forget(old)
        self._cache.forget(new)

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone already is fine."""
        self._cache.forget(path)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass  # Gone already, which is what was asked for.
        except OSError as error:
            raise disk_error(path, error) from error

    def remove_tree(self, path: str) -> None:
        """Remove a directory and all below; one that is gone already is fine."""
        self._cache.forget(path)
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            pass  # Gone already, which is what was asked for.
        except OSError as error:
            raise disk_error(path, error) from error

    def sync_directory(self, path: str) -> None:
        """Block until the names in it are on disk. Raises SyncFailed: then stop."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise disk_error(path, error) from error
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise SyncFailed(path, error.strerror or str(error)) from error
        finally:
            os.close(descriptor)

    def free_bytes(self, path: str) -> int:
        """Return how much more fits on the disk that holds `path`."""
        try:
            about = os.statvfs(path)
        except OSError as error:
            raise disk_error(path, error) from error
        return about.f_bavail * about.f_frsize

    def total_bytes(self, path: str) -> int:
        """Return the size of the disk that holds `path`, what only root may fill included."""
        try:
            about = os.statvfs(path)
        except OSError as error:
            raise disk_error(path, error) from error
        return about.f_blocks * about.f_frsize

    def lock(self, path: str) -> Lock:
        """Take the lock file `path` for this process. Raises Locked if another has it."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise disk_error(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise Locked(path, "is locked by another process") from None
            raise disk_error(path, error) from error
        return OsLock(descriptor)
