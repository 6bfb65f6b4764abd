"""What can be wrong with a log, as types: the caller turns each into an answer or a stop.

Errors of the disk itself are in storage/disk.py. None of these carries record contents.
"""

from storage.types import Offset


class LogError(Exception):
    """Anything that a log refuses, or finds wrong with itself."""


class CorruptBatch(LogError):
    """Bytes that claim to be a record batch and are not one (Kafka error 2)."""


class BatchTooLarge(CorruptBatch):
    """A batch whose records would unpack to more bytes than the reader allows."""


class OffsetOutOfRange(LogError):
    """Asked for an offset outside [log_start_offset, log_end_offset] (Kafka error 1)."""

    def __init__(self, offset: Offset, log_start_offset: Offset, log_end_offset: Offset) -> None:
        super().__init__(
            f"offset {offset} is not within {log_start_offset} to {log_end_offset} (exclusive)"
        )
        self.offset = offset
        self.log_start_offset = log_start_offset
        self.log_end_offset = log_end_offset


class OutOfOrderSequence(LogError):
    """A producer's sequence leaves a gap, or repeats what is no longer known (Kafka error 45)."""


class InvalidProducerEpoch(LogError):
    """A producer that a later one with the same id has fenced (Kafka error 47)."""


class WrongTopicId(LogError):
    """The directory holds a partition of another topic that had the same name."""

    def __init__(self, directory: str, found: bytes, wanted: bytes) -> None:
        super().__init__(f"{directory} belongs to topic id {found.hex()}, not {wanted.hex()}")
        self.directory = directory
        self.found = found


class DamagedLog(LogError):
    """Something that was on disk for certain is missing or altered; nothing was changed.

    `offset` and `position` say where the first unsound batch begins, as far as that is known.
    """

    def __init__(self, path: str, offset: Offset, position: int, reason: str) -> None:
        super().__init__(f"{path} is damaged: {reason} at offset {offset} (byte {position})")
        self.path = path
        self.offset = offset
        self.position = position
        self.reason = reason


class BadMeta(LogError):
    """`meta.toml` cannot be used: unreadable, of a newer format, or for another purpose."""


class NewerFormat(BadMeta):
    """The data directory was written by a later release; this one must not touch it."""


class JournalError(Exception):
    """The promise journal cannot be used, so the node must not start.

    It is no LogError: a node lives with a log that is wrong, never with promises it cannot read.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path = path


class JournalMissing(JournalError):
    """There is no journal though there should be: what was promised is not known."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "is missing: what this node promised is not known")


class JournalDamaged(JournalError):
    """Something that was on disk for certain is missing or altered; nothing was changed."""

    def __init__(self, path: str, position: int, reason: str) -> None:
        super().__init__(path, f"is damaged: {reason} (byte {position})")
        self.position = position


class JournalForeign(JournalError):
    """The journal belongs to another data directory; ids are 16 bytes."""

    def __init__(self, path: str, found: bytes, wanted: bytes) -> None:
        super().__init__(path, f"belongs to directory id {found.hex()}, not {wanted.hex()}")
        self.found = found


class JournalExists(JournalError):
    """A journal was to be founded where one already holds rounds."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "holds promises already: this data directory is not new")
