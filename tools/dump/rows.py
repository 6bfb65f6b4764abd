"""What a dump is made of: rows of plain facts, and what was asked for."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn, TypeAlias

from storage.disk import (
    Disk,
    DiskError,
    File,
    Missing,
    OsDisk,
    OsFile,
    ReadOnly,
    disk_error,
)
from storage.types import Offset, TimestampMs

OFFSET_END = 1 << 63
"""Above every offset."""

TEXT_BYTES_MAX = 200
"""Shown of a key or a value; what is longer says how long it is."""

FILE_BYTES_MAX = 256 << 20
"""Of a file that is read whole: journals, checkpoints, snapshots. Ours stay far below."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the output: what it is, and its facts by name."""

    kind: str
    fields: Mapping[str, object]


Rows: TypeAlias = Iterator[Row]

PROBLEM = "problem"
DAMAGED = "damaged"
"""Something that was on disk for certain is missing or altered: exit status 4."""
TORN = "torn"
"""The end of a write that was under way, or that a crash cut: the next start mends it."""
REPAIRED = "repaired"
"""One of two copies is bad; the other says what it said."""


def problem(
    path: str,
    byte: int,
    reason: str,
    *,
    state: str = DAMAGED,
    offset: Offset | None = None,
    sound: str | None = None,
) -> Row:
    """Return the row that says what is wrong.

    Args:
        path: of the file.
        byte: where in it.
        reason: one clause.
        state: DAMAGED, TORN or REPAIRED.
        offset: which of the log, as far as that is known.
        sound: what before it is sound.
    """
    fields: dict[str, object] = {"file": path, "state": state, "byte": byte}
    if offset is not None:
        fields["offset"] = offset
    fields["reason"] = reason
    if sound is not None:
        fields["sound"] = sound
    return Row(PROBLEM, fields)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of each file is asked for."""

    begin: Offset = 0
    end: Offset = OFFSET_END
    """Exclusive."""
    limit: int | None = None
    """Rows of each file at most; its summary then says that it is not the whole."""
    records: bool = False
    verify: bool = False

    def overlaps(self, first: Offset, last: Offset) -> bool:
        """Whether any of the offsets from `first` to `last` (inclusive) is asked for."""
        return first < self.end and last >= self.begin

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self.begin == 0 and self.end == OFFSET_END and self.limit is None


class Counted:
    """Counts the rows of one file against the limit."""

    def __init__(self, wanted: Wanted) -> None:
        self._left = wanted.limit
        self.is_cut = False

    def take(self) -> bool:
        """Return whether one more row may be shown; from the first that may not, none may."""
        if self._left is not None:
            if self._left == 0:
                self.is_cut = True
                return False
            self._left -= 1
        return True


def shown(data: bytes | None) -> str | None:
    """Return bytes as text: escaped, so that nothing in it acts on a terminal, and bounded."""
    if data is None:
        return None
    cut = data[:TEXT_BYTES_MAX]
    # Three bytes at most may be half a character, which the cut made.
    text = cut.decode("utf-8", "surrogateescape")
    escaped = "".join(
        character if character.isprintable() and character != "\\" else _escape(character)
        for character in text
    )
    return escaped if len(cut) == len(data) else f"{escaped}… ({len(data):,} bytes)"


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode() if character != "\\" else "\\\\"


def id_text(identity: bytes | memoryview) -> str:
    """Return an id of 16 bytes as Kafka writes it, in 22 characters."""
    return base64.urlsafe_b64encode(identity).rstrip(b"=").decode()


def instant(timestamp_ms: TimestampMs) -> str:
    """Return an instant for people, in UTC; a dash for none."""
    if timestamp_ms < 0:
        return "-"
    try:
        moment = datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(timestamp_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class ReadingDisk(OsDisk):
    """The disk of this machine, of which nothing can be changed through this."""

    def open(self, path: str, *, create: bool = False) -> File:
        """Open a regular file for reading. Raises DiskError."""
        if create:
            self._refuse(path)
        try:
            # Not blocking: a pipe of that name must not hold us up.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise disk_error(path, error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise DiskError(path, "is not a regular file")
        return OsFile(path, descriptor)

    def _refuse(self, path: str) -> NoReturn:
        raise ReadOnly(path, "a dump changes nothing")

    def make_directory(self, path: str) -> None:
        """Refuse."""
        self._refuse(path)

    def rename(self, old: str, new: str) -> None:
        """Refuse."""
        self._refuse(old)

    def remove(self, path: str) -> None:
        """Refuse."""
        self._refuse(path)

    def remove_tree(self, path: str) -> None:
        """Refuse."""
        self._refuse(path)

    def sync_directory(self, path: str) -> None:
        """Refuse."""
        self._refuse(path)

    def lock(self, path: str) -> NoReturn:
        """Refuse: a dump beside a running node takes no lock."""
        self._refuse(path)


def read_small(disk: Disk, path: str) -> bytes:
    """Return a file that is read whole.

    Raises:
        DiskError: it cannot be read, or is larger than any of ours.
    """
    file = disk.open(path)
    if file.size > FILE_BYTES_MAX:
        raise DiskError(path, f"has {file.size:,} bytes, more than any such file of ours")
    return file.read(0, file.size)


def read_if_there(disk: Disk, path: str) -> bytes | None:
    """Return a file that is read whole, None if it is missing. Raises DiskError."""
    try:
        return read_small(disk, path)
    except Missing:
        return None
