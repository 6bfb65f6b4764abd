"""Every configuration of a node, declared once, and how its layers make one value."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from mesh.model.group_config import GroupSettings
from mesh.model.setting import (
    ConfigError,
    Kind,
    RefusedConfigError,
    Setting,
    UnknownConfigError,
    Value,
    setting,
    settings_of,
)
from mesh.model.topic_config import TOPIC_SETTINGS, TopicConfig
from mesh.model.unused_config import read_groups

NO_SYNC = str(2**63 - 1)
"""Kafka's way to say that records or milliseconds alone never ask for a sync."""


def _default_of(topic_setting: str, name: str, *, per_mesh: bool = False) -> Any:
    """Declare a setting that is the default of a topic's: same type, default and bounds."""
    row = TOPIC_SETTINGS[topic_setting]
    return setting(
        name,
        row.kind,
        row.default,
        f"What {topic_setting} is for topics that do not set it. {row.about}",
        at_least=row.at_least,
        at_most=row.at_most,
        choices=row.choices,
        check=row.check,
        unused=row.unused,
        refused=row.refused,
        per_mesh=per_mesh,
    )


def connection_overrides(text: str) -> dict[str, int]:
    """Return the bound on connections of each address in max.connections.per.ip.overrides.

    Raises:
        ValueError: with what is wrong.
    """
    from ipaddress import ip_address  # 1 ms that nearly every start can do without

    bounds = {}
    for item in filter(None, map(str.strip, text.split(","))):
        host, colon, count = item.rpartition(":")
        if not (colon and count.isascii() and count.isdecimal() and int(count[:10]) < 2**31):
            raise ValueError(f"{item} is not ADDRESS:COUNT with a count of at least 0")
        try:
            bounds[str(ip_address(host.removeprefix("[").removesuffix("]")))] = int(count[:10])
        except ValueError:
            raise ValueError(f"{host!r} is not an IPv4 or IPv6 address") from None
    return bounds


def _address_counts(value: Value) -> str | None:
    try:
        connection_overrides(str(value))
    except ValueError as error:
        return str(error)
    return None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig(GroupSettings):
    """What is in force for this node; make one with `from_mapping`."""

    static: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Given at start, and facts; by Kafka's name."""
    cluster: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Set at runtime for all nodes."""
    own: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Set at runtime for this node."""
    topic_defaults: TopicConfig = dataclasses.field(default_factory=TopicConfig)
    """In force for a topic without own values."""

    # Facts: the node knows them; they are listed because tools look for them.
    node_id: int | None = setting("node.id", Kind.INT, None, "Id of this node.", fact=True)
    broker_id: int = setting("broker.id", Kind.INT, "-1", "The same as node.id.", fact=True)
    rack: str | None = setting(
        "broker.rack", Kind.STRING, None, "Failure domain of this node.", fact=True
    )
    listeners: tuple[str, ...] = setting(
        "listeners",
        Kind.LIST,
        "PLAINTEXT://127.0.0.1:9092",
        "Addresses on which this node serves clients.",
        fact=True,
    )
    advertised_listeners: tuple[str, ...] | None = setting(
        "advertised.listeners", Kind.LIST, None, "Addresses that clients are told.", fact=True
    )
    log_directories: tuple[str, ...] | None = setting(
        "log.dirs", Kind.LIST, None, "Directory that holds everything of this node.", fact=True
    )
    log_directory: tuple[str, ...] | None = setting(
        "log.dir", Kind.LIST, None, "The same as log.dirs, for tools that look here.", fact=True
    )
    durability: str = setting(
        "gossamer.durability",
        Kind.STRING,
        "disk",
        "What an answer to acks=all has waited for: disk is a sync, memory the page cache.",
        choices=("disk", "memory"),
        fact=True,
    )

    # The node and its connections.
    connection_idle_ms_max: int = setting(
        "connections.max.idle.ms",
        Kind.LONG,
        "600000",
        "Milliseconds of silence after which a client's connection is closed; negative: never.",
        dynamic=False,
    )
    connections_max: int = setting(
        "max.connections",
        Kind.INT,
        str(2**31 - 1),
        "Connections at a time; while there are so many, a new one waits until another ends. At "
        "least 1, or nobody could connect to change it.",
        at_least=1,
    )
    connections_per_ip_max: int = setting(
        "max.connections.per.ip",
        Kind.INT,
        str(2**31 - 1),
        "Connections at a time from one address; one more is closed at once. 0 only beside "
        "max.connections.per.ip.overrides, which then says who may connect.",
        at_least=0,
    )
    connections_per_ip_overrides: str = setting(
        "max.connections.per.ip.overrides",
        Kind.STRING,
        "",
        "What max.connections.per.ip is for some addresses, as ADDRESS:COUNT,…; names are not "
        "looked up.",
        check=_address_counts,
    )
    request_bytes_max: int = setting(
        "socket.request.max.bytes",
        Kind.INT,
        "104857600",
        "Largest request in bytes; a connection that announces a larger one is closed. It must "
        "also fit into queued.max.request.bytes.",
        at_least=1,
        dynamic=False,
    )
    requests_bytes_max: int = setting(
        "queued.max.request.bytes",
        Kind.LONG,
        "67108864",
        "Memory for requests in flight, in bytes: a request waits until its length fits. One "
        "larger than all of it is refused, as one larger than socket.request.max.bytes is.",
        at_least=1,
        dynamic=False,
    )
    fetch_bytes_max: int = setting(
        "fetch.max.bytes",
        Kind.INT,
        "57671680",
        "Largest answer to a Fetch in bytes, whatever the client allows; a first batch that is "
        "larger still goes out, alone.",
        at_least=1024,
        dynamic=False,
    )
    described_partitions_max: int = setting(
        "max.request.partition.size.limit",
        Kind.INT,
        "2000",
        "Partitions in one answer to DescribeTopicPartitions; a cursor leads to the rest.",
        at_least=1,
        dynamic=False,
    )
    producer_id_expiration_ms: int = setting(
        "producer.id.expiration.ms",
        Kind.INT,
        "86400000",
        "Milliseconds of silence after which an idempotent producer is forgotten.",
        at_least=1,
    )

    # Topics as they are made.
    auto_create_topics: bool = setting(
        "auto.create.topics.enable",
        Kind.BOOLEAN,
        "true",
        "Whether a topic is made when a client asks for one that is not there and allows it.",
        dynamic=False,
    )
    delete_topics: bool = setting(
        "delete.topic.enable", Kind.BOOLEAN, "true", "Whether topics may be deleted.", dynamic=False
    )
    partitions: int = setting(
        "num.partitions",
        Kind.INT,
        "1",
        "Partitions of a topic that is made without their number.",
        at_least=1,
        dynamic=False,
    )
    replication_factor: int = setting(
        "default.replication.factor",
        Kind.INT,
        "3",
        "Replicas of a topic that is made without their number: as many as there are nodes, odd, "
        "up to this.",
        at_least=1,
        dynamic=False,
    )
    replica_lag_ms_max: int = setting(
        "replica.lag.time.max.ms",
        Kind.LONG,
        "30000",
        "Milliseconds behind its leader after which a replica is out of sync.",
        at_least=1,
        dynamic=False,
    )
    catch_up_bytes_s: int = setting(
        "replication.throttled.rate",
        Kind.LONG,
        "52428800",
        "Bytes a second that a node sends, in all, to replicas that lag behind what is committed. "
        "Halved, down to a sixteenth, while the p99 of its clients' requests is more than double "
        "what it is without such traffic.",
        at_least=1024,
    )
    replica_replace_ms: int = setting(
        "replica.replace.after.ms",
        Kind.LONG,
        "600000",
        "Milliseconds for which a node may be dead before what it holds is rebuilt elsewhere.",
        at_least=0,
        dynamic=False,
    )

    # Defaults of topics.
    retention_check_ms: int = setting(
        "log.retention.check.interval.ms",
        Kind.LONG,
        "300000",
        "Milliseconds between two looks for segments whose time has come; a node looks at least "
        "once a minute.",
        at_least=1,
        dynamic=False,
    )
    compaction: bool = setting(
        "log.cleaner.enable",
        Kind.BOOLEAN,
        "true",
        "Whether topics whose cleanup.policy says so are compacted.",
        dynamic=False,
    )
    compaction_pause_ms: int = setting(
        "log.cleaner.backoff.ms",
        Kind.LONG,
        "15000",
        "Milliseconds between two looks for a log to compact, while there is none.",
        at_least=0,
    )
    compaction_key_bytes: int = setting(
        "log.cleaner.dedupe.buffer.size",
        Kind.LONG,
        "134217728",
        "Bytes of memory for the keys that one run of compaction looks at, of which at most 64 MiB "
        "are taken: some 400,000 keys. A log with more of them takes several runs.",
    )
    compaction_bytes_per_second: float = setting(
        "log.cleaner.io.max.bytes.per.second",
        Kind.DOUBLE,
        "1.7976931348623157E308",
        "Bytes that compaction reads and writes in a second, at most.",
    )
    log_retention_ms: int | None = setting(
        "log.retention.ms",
        Kind.LONG,
        None,
        "What retention.ms is for topics that do not set it; if unset, log.retention.minutes.",
        at_least=-1,
    )
    log_retention_minutes: int | None = setting(
        "log.retention.minutes",
        Kind.INT,
        None,
        "As log.retention.ms, in minutes; if unset, log.retention.hours.",
        at_least=-1,
        dynamic=False,
    )
    log_retention_hours: int = setting(
        "log.retention.hours",
        Kind.INT,
        "168",
        "As log.retention.ms, in hours.",
        at_least=-1,
        dynamic=False,
    )
    log_roll_ms: int | None = setting(
        "log.roll.ms",
        Kind.LONG,
        None,
        "What segment.ms is for topics that do not set it; if unset, log.roll.hours.",
        at_least=1,
    )
    log_roll_hours: int = setting(
        "log.roll.hours", Kind.INT, "168", "As log.roll.ms, in hours.", at_least=1, dynamic=False
    )
    log_roll_jitter_ms: int | None = setting(
        "log.roll.jitter.ms",
        Kind.LONG,
        None,
        "What segment.jitter.ms is for topics that do not set it.",
        at_least=0,
        unused=TOPIC_SETTINGS["segment.jitter.ms"].unused,
    )
    log_roll_jitter_hours: int = setting(
        "log.roll.jitter.hours",
        Kind.INT,
        "0",
        "As log.roll.jitter.ms, in hours.",
        at_least=0,
        dynamic=False,
        unused=TOPIC_SETTINGS["segment.jitter.ms"].unused,
    )
    log_flush_ms: int | None = setting(
        "log.flush.interval.ms",
        Kind.LONG,
        None,
        "What flush.ms is for topics that do not set it.",
        at_least=0,
        unused=TOPIC_SETTINGS["flush.ms"].unused,
    )
    log_flush_scheduler_ms: int = setting(
        "log.flush.scheduler.interval.ms",
        Kind.LONG,
        NO_SYNC,
        "As log.flush.interval.ms, if that is unset.",
        at_least=0,
        dynamic=False,
        unused=TOPIC_SETTINGS["flush.ms"].unused,
    )
    log_cleanup_policy: tuple[str, ...] = _default_of("cleanup.policy", "log.cleanup.policy")
    log_compression_type: str = _default_of("compression.type", "compression.type")
    log_compression_gzip_level: int = _default_of(
        "compression.gzip.level", "compression.gzip.level"
    )
    log_compression_lz4_level: int = _default_of("compression.lz4.level", "compression.lz4.level")
    log_compression_zstd_level: int = _default_of(
        "compression.zstd.level", "compression.zstd.level"
    )
    log_tombstone_retention_ms: int = _default_of(
        "delete.retention.ms", "log.cleaner.delete.retention.ms"
    )
    log_file_delete_delay_ms: int = _default_of(
        "file.delete.delay.ms", "log.segment.delete.delay.ms"
    )
    log_flush_records: int = _default_of("flush.messages", "log.flush.interval.messages")
    log_index_interval_bytes: int = _default_of("index.interval.bytes", "log.index.interval.bytes")
    log_index_bytes_max: int = _default_of("segment.index.bytes", "log.index.size.max.bytes")
    log_local_retention_bytes: int = _default_of(
        "local.retention.bytes", "log.local.retention.bytes"
    )
    log_local_retention_ms: int = _default_of("local.retention.ms", "log.local.retention.ms")
    log_compaction_lag_ms_max: int = _default_of(
        "max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"
    )
    log_compaction_lag_ms_min: int = _default_of(
        "min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms"
    )
    log_dirty_ratio_min: float = _default_of(
        "min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio"
    )
    log_batch_bytes_max: int = _default_of("max.message.bytes", "message.max.bytes")
    log_timestamp_after_ms_max: int = _default_of(
        "message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms"
    )
    log_timestamp_before_ms_max: int = _default_of(
        "message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms"
    )
    log_timestamp_type: str = _default_of("message.timestamp.type", "log.message.timestamp.type")
    # For all nodes or none: whoever leads must not decide what is enough.
    log_in_sync_replicas_min: int = _default_of(
        "min.insync.replicas", "min.insync.replicas", per_mesh=True
    )
    log_preallocate: bool = _default_of("preallocate", "log.preallocate")
    log_retention_bytes: int = _default_of("retention.bytes", "log.retention.bytes")
    log_segment_bytes: int = _default_of("segment.bytes", "log.segment.bytes")
    log_unclean_leader_election: bool = _default_of(
        "unclean.leader.election.enable", "unclean.leader.election.enable"
    )

    @classmethod
    def from_mapping(
        cls, mapping: Mapping[str, str], facts: Mapping[str, str] | None = None
    ) -> BrokerConfig:
        """Return the configuration that flags, variables and file give; names are Kafka's.

        Args:
            mapping: what was asked for.
            facts: what the node knows of itself, such as node.id and listeners.
        Raises:
            UnknownConfigError: no such setting; names the nearest one.
            ConfigError: a value that is not taken, or a fact that was asked for.
        """
        for name, value in mapping.items():
            if name in BROKER_SETTINGS and BROKER_SETTINGS[name].fact:
                raise ConfigError(name, value, "the node's own flags give it; see mesh node --help")
        config = _build({**mapping, **(facts or {})}, {}, {})
        for name, value in mapping.items():
            BROKER_SETTINGS[name].check_taken(value)
            check_syncs(config, name, value)
        check_broker_config(config)
        return config

    def with_dynamic(self, cluster: Mapping[str, str], own: Mapping[str, str]) -> BrokerConfig:
        """Return the configuration with these values set at runtime, for all and for this node.

        Raises:
            UnknownConfigError: no such setting.
            ConfigError: a value that is not taken. Those that the registry holds were checked.
        """
        return _build(self.static, cluster, own)

    def text(self, name: str) -> str | None:
        """Return the text in force of a setting; None where nothing is set and no default is."""
        for layer in (self.own, self.cluster, self.static):
            if name in layer:
                return layer[name]
        return BROKER_SETTINGS[name].default

    @property
    def unused_names(self) -> list[str]:
        """Settings that were given a value and change nothing here, whatever it is; sorted."""
        given = {*self.static, *self.cluster, *self.own}
        return sorted(name for name in given if BROKER_SETTINGS[name].unused is not None)


class _BrokerSettings(Mapping[str, Setting]):
    """All settings of a node by name, sorted; those that change nothing are read when asked for.

    That takes 4 ms, which a start can do without: it asks only for what it was given.
    """

    def __init__(self, used: Mapping[str, Setting]) -> None:
        self._used = used

    @functools.cached_property
    def _all(self) -> Mapping[str, Setting]:
        from mesh.model import unused_here, unused_yet

        unused = read_groups((*unused_here.GROUPS, *unused_yet.GROUPS))
        return dict(sorted({**self._used, **{row.name: row for row in unused}}.items()))

    def __getitem__(self, name: str) -> Setting:
        row = self._used.get(name)
        return self._all[name] if row is None else row

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


BROKER_SETTINGS: Mapping[str, Setting] = _BrokerSettings(settings_of(BrokerConfig))
"""By Kafka's name, sorted: what a view has an attribute for, and what changes nothing here."""


def check_broker_config(config: BrokerConfig) -> None:
    """Refuse values that are good one by one, but not together.

    Raises:
        RefusedConfigError: with Kafka's text.
    """
    if config.connections_per_ip_max == 0 and not config.connections_per_ip_overrides:
        name = "max.connections.per.ip"
        reason = f"{name} can be set to zero only if {name}.overrides property is set."
        raise RefusedConfigError(name, "0", reason)


_SYNC_SETTINGS = frozenset(
    {"flush.messages", "flush.ms", "log.flush.interval.messages", "log.flush.interval.ms"}
)


def check_syncs(config: BrokerConfig, name: str, text: str) -> None:
    """Refuse a setting that asks for syncs on a node that makes none before it answers.

    Raises:
        RefusedConfigError: `text` is not what stands for no sync at all.
    """
    if name in _SYNC_SETTINGS and config.durability == "memory" and text.strip() != NO_SYNC:
        reason = f"{name} asks for syncs, which a node with --durability memory does not make"
        raise RefusedConfigError(name, text, reason)


def nearest(name: str) -> str | None:
    """Return the setting of a node whose name is most like a misspelt one; None if none is."""
    names = [row.name for row in BROKER_SETTINGS.values() if not row.fact]
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.6)), None)


def _build(
    static: Mapping[str, str], cluster: Mapping[str, str], own: Mapping[str, str]
) -> BrokerConfig:
    values: dict[str, Value] = {}
    for layer in (static, cluster, own):
        for name, text in layer.items():
            if name not in BROKER_SETTINGS:
                near = nearest(name)
                hint = f"; the nearest one is {near}" if near else ""
                raise UnknownConfigError(name, text, "there is no such option" + hint)
            row = BROKER_SETTINGS[name]
            value = row.parse(text)
            if row.attribute:
                values[name] = value
    topic_values: dict[str, Any] = {}
    for row in TOPIC_SETTINGS.values():
        for synonym in row.synonyms:
            if synonym.name in values:
                topic_values[row.attribute] = _scaled(values[synonym.name], synonym.scale)
                break
    # mypy cannot see that every setting's parser gives what its attribute is annotated with.
    own_values: dict[str, Any] = {BROKER_SETTINGS[name].attribute: v for name, v in values.items()}
    return BrokerConfig(
        static=dict(static),
        cluster=dict(cluster),
        own=dict(own),
        topic_defaults=dataclasses.replace(TopicConfig(), **topic_values),
        **own_values,
    )


def _scaled(value: Value, scale: int) -> Value:
    """Convert to the setting's unit; negative stays "no limit" whatever the unit."""
    if scale == 1 or not isinstance(value, int):
        return value
    return value * scale if value >= 0 else -1
