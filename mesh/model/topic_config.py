"""Every configuration of a topic, declared once: name, type, default, bounds and meaning."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mesh.model.setting import (
    Kind,
    Setting,
    Synonym,
    UnknownConfigError,
    Value,
    setting,
    settings_of,
)

if TYPE_CHECKING:
    from mesh.model.broker_config import BrokerConfig

_MAX = str(2**63 - 1)
_MINUTE_MS, _HOUR_MS = 60_000, 3_600_000

_CODECS = ("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer")
_POLICIES = ("compact", "delete")
_STAMPS = ("CreateTime", "LogAppendTime")
_REPLICA_LIST = re.compile(r"\*|[0-9]+:[0-9]+(,[0-9]+:[0-9]+)*", re.ASCII)


def _gzip_level(value: Value) -> str | None:
    good = value == -1 or (isinstance(value, int) and 1 <= value <= 9)
    return None if good else "Value must be between 1 and 9 or equal to -1"


def _replica_list(name: str) -> Callable[[Value], str | None]:
    def check(value: Value) -> str | None:
        if not value or (isinstance(value, tuple) and _REPLICA_LIST.fullmatch(",".join(value))):
            return None
        return (
            f"{name} must be the literal '*' or a list of replicas in the following format: "
            "[partitionId]:[brokerId],[partitionId]:[brokerId],..."
        )

    return check


_NO_TIERS = "There is no tiered storage: every segment stays on the node's own disk."
_SYNCED = (
    "What is appended is synced at once, together with what arrives meanwhile, and acks=all waits "
    "for it. A node with --durability memory forces no sync, and refuses any value."
)
_NO_THROTTLE = "There is one node so far, so there is nothing to throttle."


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TopicConfig:
    """What is in force for one topic."""

    cleanup_policy: tuple[str, ...] = setting(
        "cleanup.policy",
        Kind.LIST,
        "delete",
        "What happens to old records: delete drops whole segments by age and size, compact keeps "
        "the latest record of each key, both may be given. Where compact is set, records without a "
        "key are refused.",
        choices=_POLICIES,
        synonyms=(Synonym("log.cleanup.policy"),),
    )
    compression_gzip_level: int = setting(
        "compression.gzip.level",
        Kind.INT,
        "-1",
        "Level for compression.type gzip, 1 to 9; -1 is the library's own.",
        check=_gzip_level,
        synonyms=(Synonym("compression.gzip.level"),),
    )
    compression_lz4_level: int = setting(
        "compression.lz4.level",
        Kind.INT,
        "9",
        "Level for compression.type lz4.",
        at_least=1,
        at_most=17,
        synonyms=(Synonym("compression.lz4.level"),),
    )
    compression_type: str = setting(
        "compression.type",
        Kind.STRING,
        "producer",
        "Codec of stored batches: producer stores a batch as it was sent, which is fastest; with "
        "any other one, batches of another codec are compressed anew before they are appended.",
        choices=_CODECS,
        synonyms=(Synonym("compression.type"),),
    )
    compression_zstd_level: int = setting(
        "compression.zstd.level",
        Kind.INT,
        "3",
        "Level for compression.type zstd.",
        at_least=-131072,
        at_most=22,
        synonyms=(Synonym("compression.zstd.level"),),
    )
    delete_retention_ms: int = setting(
        "delete.retention.ms",
        Kind.LONG,
        "86400000",
        "Milliseconds for which a tombstone stays after compaction first met it, so that readers "
        "learn of it.",
        at_least=0,
        synonyms=(Synonym("log.cleaner.delete.retention.ms"),),
    )
    file_delete_delay_ms: int = setting(
        "file.delete.delay.ms",
        Kind.LONG,
        "60000",
        "Milliseconds between taking a segment out of a log and removing its files.",
        unused="They go at once, and whoever still reads one keeps it open.",
        at_least=0,
        synonyms=(Synonym("log.segment.delete.delay.ms"),),
    )
    flush_records: int = setting(
        "flush.messages",
        Kind.LONG,
        _MAX,
        "Records after which a log is synced.",
        unused=_SYNCED,
        at_least=1,
        synonyms=(Synonym("log.flush.interval.messages"),),
    )
    flush_ms: int = setting(
        "flush.ms",
        Kind.LONG,
        _MAX,
        "Milliseconds after which a log is synced.",
        unused=_SYNCED,
        at_least=0,
        synonyms=(
            Synonym("log.flush.interval.ms"),
            Synonym("log.flush.scheduler.interval.ms"),
        ),
    )
    follower_throttled_replicas: tuple[str, ...] = setting(
        "follower.replication.throttled.replicas",
        Kind.LIST,
        "",
        "Replicas whose catching up is throttled, as partition:node,… or *.",
        unused=_NO_THROTTLE,
        check=_replica_list("follower.replication.throttled.replicas"),
    )
    index_interval_bytes: int = setting(
        "index.interval.bytes",
        Kind.INT,
        "4096",
        "Bytes of log between two entries of its indexes.",
        at_least=0,
        synonyms=(Synonym("log.index.interval.bytes"),),
    )
    leader_throttled_replicas: tuple[str, ...] = setting(
        "leader.replication.throttled.replicas",
        Kind.LIST,
        "",
        "Replicas that a leader serves at a throttled rate, as partition:node,… or *.",
        unused=_NO_THROTTLE,
        check=_replica_list("leader.replication.throttled.replicas"),
    )
    local_retention_bytes: int = setting(
        "local.retention.bytes",
        Kind.LONG,
        "-2",
        "As retention.bytes, for what is on the node's own disk; -2 stands for retention.bytes.",
        unused=_NO_TIERS,
        at_least=-2,
        synonyms=(Synonym("log.local.retention.bytes"),),
    )
    local_retention_ms: int = setting(
        "local.retention.ms",
        Kind.LONG,
        "-2",
        "As retention.ms, for what is on the node's own disk; -2 stands for retention.ms.",
        unused=_NO_TIERS,
        at_least=-2,
        synonyms=(Synonym("log.local.retention.ms"),),
    )
    compaction_lag_ms_max: int = setting(
        "max.compaction.lag.ms",
        Kind.LONG,
        _MAX,
        "Longest time, in milliseconds, that a record may stay uncompacted. A segment that began "
        "longer ago than this is closed by the next append, and compacted whatever its share.",
        at_least=1,
        synonyms=(Synonym("log.cleaner.max.compaction.lag.ms"),),
    )
    batch_bytes_max: int = setting(
        "max.message.bytes",
        Kind.INT,
        "1048588",
        "Largest record batch taken, in bytes, as it is sent (after compression).",
        at_least=0,
        synonyms=(Synonym("message.max.bytes"),),
    )
    timestamp_after_ms_max: int = setting(
        "message.timestamp.after.max.ms",
        Kind.LONG,
        "3600000",
        "How far, in milliseconds, a record's timestamp may lie ahead of the node's clock; for "
        "CreateTime only.",
        at_least=0,
        synonyms=(Synonym("log.message.timestamp.after.max.ms"),),
    )
    timestamp_before_ms_max: int = setting(
        "message.timestamp.before.max.ms",
        Kind.LONG,
        _MAX,
        "How far, in milliseconds, a record's timestamp may lie behind the node's clock; for "
        "CreateTime only.",
        at_least=0,
        synonyms=(Synonym("log.message.timestamp.before.max.ms"),),
    )
    timestamp_type: str = setting(
        "message.timestamp.type",
        Kind.STRING,
        "CreateTime",
        "Whether a record bears the time its producer gave it or that of its append.",
        choices=_STAMPS,
        synonyms=(Synonym("log.message.timestamp.type"),),
    )
    dirty_ratio_min: float = setting(
        "min.cleanable.dirty.ratio",
        Kind.DOUBLE,
        "0.5",
        "Compaction runs once more than this share of a log, in bytes and without its active "
        "segment, is uncompacted.",
        at_least=0,
        at_most=1,
        synonyms=(Synonym("log.cleaner.min.cleanable.ratio"),),
    )
    compaction_lag_ms_min: int = setting(
        "min.compaction.lag.ms",
        Kind.LONG,
        "0",
        "Shortest time, in milliseconds, that a record stays uncompacted.",
        at_least=0,
        synonyms=(Synonym("log.cleaner.min.compaction.lag.ms"),),
    )
    in_sync_replicas_min: int = setting(
        "min.insync.replicas",
        Kind.INT,
        "1",
        "In-sync replicas below which a produce with acks=all is refused; more than the topic has "
        "replicas counts as that many.",
        at_least=1,
        synonyms=(Synonym("min.insync.replicas"),),
    )
    preallocate: bool = setting(
        "preallocate",
        Kind.BOOLEAN,
        "false",
        "Whether a segment's file gets its full size at once.",
        unused="Files grow as they are written.",
        synonyms=(Synonym("log.preallocate"),),
    )
    remote_log_copy_disable: bool = setting(
        "remote.log.copy.disable",
        Kind.BOOLEAN,
        "false",
        "Whether nothing more is copied to the tier.",
        unused=_NO_TIERS,
    )
    remote_log_delete_on_disable: bool = setting(
        "remote.log.delete.on.disable",
        Kind.BOOLEAN,
        "false",
        "Whether what is in the tier goes once the topic is not tiered any more.",
        unused=_NO_TIERS,
    )
    remote_storage_enable: bool = setting(
        "remote.storage.enable",
        Kind.BOOLEAN,
        "false",
        "Whether segments are copied to a tier.",
        unused=_NO_TIERS + " So true is refused.",
    )
    retention_bytes: int = setting(
        "retention.bytes",
        Kind.LONG,
        "-1",
        "Bytes of a partition's log above which its oldest segments go (policy delete); any "
        "negative number stands for no limit.",
        synonyms=(Synonym("log.retention.bytes"),),
    )
    retention_ms: int = setting(
        "retention.ms",
        Kind.LONG,
        "604800000",
        "Age in milliseconds above which segments go (policy delete), by their newest record; -1 "
        "stands for no limit.",
        at_least=-1,
        synonyms=(
            Synonym("log.retention.ms"),
            Synonym("log.retention.minutes", _MINUTE_MS),
            Synonym("log.retention.hours", _HOUR_MS),
        ),
    )
    segment_bytes: int = setting(
        "segment.bytes",
        Kind.INT,
        "1073741824",
        "Bytes at which a log rolls to a new segment. Retention works by whole segments.",
        at_least=1024 * 1024,
        synonyms=(Synonym("log.segment.bytes"),),
    )
    segment_index_bytes: int = setting(
        "segment.index.bytes",
        Kind.INT,
        "10485760",
        "Largest size of a segment's offset index.",
        unused="An index takes what its segment needs, and nothing is allocated ahead.",
        at_least=4,
        synonyms=(Synonym("log.index.size.max.bytes"),),
    )
    segment_jitter_ms: int = setting(
        "segment.jitter.ms",
        Kind.LONG,
        "0",
        "Most by which chance brings the roll by age forward, in milliseconds.",
        unused="A roll costs no pause that would have to be spread.",
        at_least=0,
        synonyms=(
            Synonym("log.roll.jitter.ms"),
            Synonym("log.roll.jitter.hours", _HOUR_MS),
        ),
    )
    segment_ms: int = setting(
        "segment.ms",
        Kind.LONG,
        "604800000",
        "Age in milliseconds at which a log rolls to a new segment even if it is not full.",
        at_least=1,
        synonyms=(
            Synonym("log.roll.ms"),
            Synonym("log.roll.hours", _HOUR_MS),
        ),
    )
    unclean_leader_election: bool = setting(
        "unclean.leader.election.enable",
        Kind.BOOLEAN,
        "false",
        "Whether a replica that may lack committed records can be made leader.",
        unused="What is committed is never given up by itself.",
        refused=True,
        synonyms=(Synonym("unclean.leader.election.enable"),),
    )

    @classmethod
    def resolve(cls, broker: BrokerConfig, overrides: Mapping[str, str]) -> TopicConfig:
        """Return what is in force for a topic with these own values.

        Raises:
            UnknownConfigError: no such setting of a topic.
            ConfigError: a value that is not taken. Those that the registry holds were checked.
        """
        if not overrides:
            return broker.topic_defaults
        for name, text in overrides.items():
            if name not in TOPIC_SETTINGS:
                raise UnknownConfigError(name, text, "topics have no such setting")
        rows = ((TOPIC_SETTINGS[name], text) for name, text in overrides.items())
        values: dict[str, Any] = {row.attribute: row.parse(text) for row, text in rows}
        return dataclasses.replace(broker.topic_defaults, **values)


TOPIC_SETTINGS: Mapping[str, Setting] = MappingProxyType(settings_of(TopicConfig))
"""By Kafka's name, sorted."""
