"""Configuration: the door to its declarations, and what DescribeConfigs tells of it.

A setting is declared once, as an attribute with its name, type, default, bounds and meaning;
Kafka's public names are mapped there and nowhere else. Where values come from, first found wins:
    topic:  set on the topic → what the node has for the first synonym that is set → default
    node:   set at runtime for this node → at runtime for all → flag, variable or file → default
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from mesh.model.broker_config import (
    BROKER_SETTINGS,
    BrokerConfig,
    check_broker_config,
    check_syncs,
    connection_overrides,
    nearest,
)
from mesh.model.setting import (
    ConfigError,
    Kind,
    RefusedConfigError,
    Setting,
    Source,
    Synonym,
    UnknownConfigError,
    text_of,
)
from mesh.model.topic_config import TOPIC_SETTINGS, TopicConfig

__all__ = [
    "BROKER_SETTINGS",
    "TOPIC_SETTINGS",
    "BrokerConfig",
    "ConfigError",
    "Described",
    "Kind",
    "Origin",
    "RefusedConfigError",
    "Setting",
    "Source",
    "TopicConfig",
    "UnknownConfigError",
    "check_broker_config",
    "check_syncs",
    "check_topic_config",
    "connection_overrides",
    "describe_broker",
    "describe_cluster",
    "describe_topic",
    "nearest",
    "text_of",
]


class Origin(NamedTuple):
    """One place that gives a setting a value, in force or hidden by an earlier one."""

    name: str
    value: str | None
    source: Source


class Described(NamedTuple):
    """One setting as DescribeConfigs and CreateTopics tell it."""

    setting: Setting
    value: str | None
    """None also where a value is there, but shown to nobody."""
    source: Source
    origins: list[Origin]
    """First one is in force; empty where only an unnamed default is."""

    @property
    def read_only(self) -> bool:
        """Whether a request cannot change it."""
        return not self.setting.dynamic


def check_topic_config(broker: BrokerConfig, overrides: Mapping[str, str]) -> TopicConfig:
    """Return what a topic with these values of its own would have in force.

    Raises:
        UnknownConfigError: no such setting of a topic.
        ConfigError: a value that is not taken, alone or beside the others.
    """
    config = TopicConfig.resolve(broker, overrides)
    for name, text in overrides.items():
        TOPIC_SETTINGS[name].check_taken(text)
        check_syncs(broker, name, text)
    if config.remote_storage_enable:
        raise RefusedConfigError(
            "remote.storage.enable",
            "true",
            "Tiered Storage functionality is disabled in the broker. "
            "Topic cannot be configured with remote log storage.",
        )
    if (low := config.compaction_lag_ms_min) > (high := config.compaction_lag_ms_max):
        raise RefusedConfigError(
            "min.compaction.lag.ms",
            str(low),
            f"conflict topic config setting min.compaction.lag.ms ({low}) > "
            f"max.compaction.lag.ms ({high})",
        )
    return config


def describe_topic(
    broker: BrokerConfig, overrides: Mapping[str, str], names: Collection[str] | None = None
) -> list[Described]:
    """Describe a topic's settings, or those among `names`, sorted by name."""
    config = TopicConfig.resolve(broker, overrides)
    described = []
    for row in _chosen(TOPIC_SETTINGS, names):
        value = text_of(getattr(config, row.attribute))
        origins = _origins(broker, row.synonyms)
        # Kafka names a default only if it is that of the first synonym.
        if origins and origins[0].source is Source.DEFAULT:
            origins = origins if origins[0].name == row.synonyms[0].name else []
        if row.name in overrides:
            origins.insert(0, Origin(row.name, value or "", Source.TOPIC))
        source = origins[0].source if origins else Source.DEFAULT
        described.append(Described(row, value, source, origins))
    return described


def describe_broker(broker: BrokerConfig, names: Collection[str] | None = None) -> list[Described]:
    """Describe the settings of this node, or those among `names`, sorted by name."""
    described = []
    for row in _chosen(BROKER_SETTINGS, names):
        origins = _origins(broker, _FALLBACKS.get(row.name, (Synonym(row.name),)))
        if not origins or origins[0].name != row.name:
            if row.hidden:
                continue
            origins = []  # Unset: what takes its place is another setting, with its own line.
        source = origins[0].source if origins else Source.DEFAULT
        described.append(Described(row, _value(broker, row), source, origins))
    return described


def _value(broker: BrokerConfig, row: Setting) -> str | None:
    """Return what is in force for this node, as it may be shown."""
    if row.sensitive:
        return None
    return text_of(getattr(broker, row.attribute)) if row.attribute else broker.text(row.name)


def describe_cluster(broker: BrokerConfig, names: Collection[str] | None = None) -> list[Described]:
    """Describe what is set at runtime for all nodes, sorted by name."""
    described = []
    for row in _chosen(BROKER_SETTINGS, names):
        if row.name in broker.cluster:
            value = None if row.sensitive else text_of(row.parse(broker.cluster[row.name]))
            origin = Origin(row.name, value, Source.CLUSTER)
            described.append(Described(row, value, Source.CLUSTER, [origin]))
    return described


_FALLBACKS = {
    row.synonyms[0].name: row.synonyms for row in TOPIC_SETTINGS.values() if len(row.synonyms) > 1
}
"""Settings of a node that others stand in for when they are unset."""


def _chosen(settings: Mapping[str, Setting], names: Collection[str] | None) -> Iterator[Setting]:
    return (row for name, row in settings.items() if names is None or name in names)


def _origins(broker: BrokerConfig, synonyms: Sequence[Synonym]) -> list[Origin]:
    """Return where the synonyms have values, what comes first is in force."""
    rows = [BROKER_SETTINGS[synonym.name] for synonym in synonyms]
    layers = (
        (broker.own, Source.BROKER),
        (broker.cluster, Source.CLUSTER),
        (broker.static, Source.STATIC),
    )
    origins = [
        Origin(row.name, None if row.sensitive else layer[row.name], source)
        for layer, source in layers
        for row in rows
        if row.name in layer
    ]
    defaults = ((row.name, row.default) for row in rows)
    return origins + [
        Origin(name, default, Source.DEFAULT) for name, default in defaults if default is not None
    ]
