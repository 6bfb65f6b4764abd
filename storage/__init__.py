"""Files and records: the log in Kafka's own formats; nothing of nodes, clusters or requests."""

from storage.compression import Codec
from storage.disk import (
    Disk,
    DiskError,
    DiskFull,
    File,
    FileSlice,
    Locked,
    Missing,
    OsDisk,
    ReadOnly,
    SyncFailed,
)
from storage.errors import (
    BadMeta,
    BatchTooLarge,
    CorruptBatch,
    DamagedLog,
    InvalidProducerEpoch,
    LogError,
    NewerFormat,
    OffsetOutOfRange,
    OutOfOrderSequence,
    WrongTopicId,
)

__all__ = [
    "BadMeta",
    "BatchTooLarge",
    "Codec",
    "CorruptBatch",
    "DamagedLog",
    "Disk",
    "DiskError",
    "DiskFull",
    "File",
    "FileSlice",
    "InvalidProducerEpoch",
    "Locked",
    "LogError",
    "Missing",
    "NewerFormat",
    "OffsetOutOfRange",
    "OsDisk",
    "OutOfOrderSequence",
    "ReadOnly",
    "SyncFailed",
    "WrongTopicId",
]
