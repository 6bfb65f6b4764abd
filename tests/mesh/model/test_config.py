"""Configurations: their declarations, their layers, and the texts that refuse a value."""

from __future__ import annotations

import dataclasses
import random

import pytest

from mesh.model.config import (
    BROKER_SETTINGS,
    TOPIC_SETTINGS,
    BrokerConfig,
    ConfigError,
    Kind,
    Origin,
    Setting,
    Source,
    TopicConfig,
    UnknownConfigError,
    check_topic_config,
    describe_broker,
    describe_cluster,
    describe_topic,
    nearest,
    text_of,
)

ALL = [*TOPIC_SETTINGS.values(), *BROKER_SETTINGS.values()]

# Names, types and defaults that DescribeConfigs of Kafka 4.3.1 gives for a topic.
KAFKA_TOPIC_CONFIGS = """
cleanup.policy 7 delete
compression.gzip.level 3 -1
compression.lz4.level 3 9
compression.type 2 producer
compression.zstd.level 3 3
delete.retention.ms 5 86400000
file.delete.delay.ms 5 60000
flush.messages 5 9223372036854775807
flush.ms 5 9223372036854775807
follower.replication.throttled.replicas 7
index.interval.bytes 3 4096
leader.replication.throttled.replicas 7
local.retention.bytes 5 -2
local.retention.ms 5 -2
max.compaction.lag.ms 5 9223372036854775807
max.message.bytes 3 1048588
message.timestamp.after.max.ms 5 3600000
message.timestamp.before.max.ms 5 9223372036854775807
message.timestamp.type 2 CreateTime
min.cleanable.dirty.ratio 6 0.5
min.compaction.lag.ms 5 0
min.insync.replicas 3 1
preallocate 1 false
remote.log.copy.disable 1 false
remote.log.delete.on.disable 1 false
remote.storage.enable 1 false
retention.bytes 5 -1
retention.ms 5 604800000
segment.bytes 3 1073741824
segment.index.bytes 3 10485760
segment.jitter.ms 5 0
segment.ms 5 604800000
unclean.leader.election.enable 1 false
"""


def described(config: BrokerConfig, name: str, **own: str) -> list[Origin]:
    """Where a topic's setting has values; underscores in `own` stand for dots."""
    overrides = {key.replace("_", "."): value for key, value in own.items()}
    [found] = describe_topic(config, overrides, {name})
    return found.origins


def test_topics_have_exactly_kafkas_settings() -> None:
    """Every config that Kafka 4.3 lists for a topic is here, with its type and default."""
    ours = [
        f"{each.setting.name} {each.setting.kind.value} {each.value}".strip()
        for each in describe_topic(BrokerConfig(), {})
    ]
    assert KAFKA_TOPIC_CONFIGS.split("\n")[1:-1] == ours


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_a_default_is_its_own_canonical_text(row: Setting) -> None:
    """Every default is valid, and written as it would be shown."""
    if row.default is not None:
        assert row.default == text_of(row.parse(row.default))


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_every_setting_says_what_it_does(row: Setting) -> None:
    """Documentation is there for each, in whole sentences."""
    assert len(row.about) > 20 or row.fact
    assert row.about.strip().endswith(".")


@pytest.mark.parametrize("row", TOPIC_SETTINGS.values(), ids=lambda row: row.name)
def test_a_topics_default_is_that_of_its_synonym(row: Setting) -> None:
    """Without any configuration, what a topic inherits is what it would have anyway."""
    for synonym in row.synonyms:
        node = BROKER_SETTINGS[synonym.name]
        if node.default is not None:
            value = node.parse(node.default)
            scaled = value * synonym.scale if isinstance(value, int) else value
            # One synonym of a chain has the default; Kafka's own are equal in all.
            assert row.parse(row.default or "") == scaled


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("retention.ms", "x", "Not a number of type LONG"),
        ("retention.ms", "", "Not a number of type LONG"),
        ("retention.ms", "1_000", "Not a number of type LONG"),
        ("retention.ms", "٣", "Not a number of type LONG"),
        ("retention.ms", "9223372036854775808", "Not a number of type LONG"),
        ("retention.ms", "9" * 5000, "Not a number of type LONG"),
        ("retention.ms", "-2", "Value must be at least -1"),
        ("segment.bytes", "3000000000", "Not a number of type INT"),
        ("segment.bytes", "1.5", "Not a number of type INT"),
        ("segment.bytes", "5", "Value must be at least 1048576"),
        ("preallocate", "yes", "Expected value to be either true or false"),
        ("min.cleanable.dirty.ratio", "x", "Not a number of type DOUBLE"),
        ("min.cleanable.dirty.ratio", "nan", "Not a number of type DOUBLE"),
        ("compression.lz4.level", "99", "Value must be no more than 17"),
        ("compression.zstd.level", "-200000", "Value must be at least -131072"),
        ("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1"),
        ("cleanup.policy", "foo", "String must be one of: compact, delete"),
        (
            "compression.type",
            "GZIP",
            "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
        ),
        ("message.timestamp.type", "Foo", "String must be one of: CreateTime, LogAppendTime"),
    ],
)
def test_a_bad_value_gets_kafkas_words(name: str, value: str, text: str) -> None:
    """The reason is that of Kafka 4.3.1, word by word."""
    with pytest.raises(ConfigError) as caught:
        check_topic_config(BrokerConfig(), {name: value})
    assert str(caught.value) == f"Invalid value {value} for configuration {name}: {text}"


def test_bad_values_are_shown_as_java_shows_them() -> None:
    """A ratio is shown as parsed, and a list as Java prints one."""
    with pytest.raises(ConfigError, match=r"^Invalid value 2\.0 for configuration min\.clean"):
        check_topic_config(BrokerConfig(), {"min.cleanable.dirty.ratio": "2"})
    name = "leader.replication.throttled.replicas"
    with pytest.raises(
        ConfigError, match=rf"Invalid value \[abc\] for configuration {name}: {name}"
    ):
        check_topic_config(BrokerConfig(), {name: "abc"})
    with pytest.raises(ConfigError, match=r"^Configuration 'cleanup\.policy' values must not be"):
        check_topic_config(BrokerConfig(), {"cleanup.policy": "delete,,compact"})
    check_topic_config(BrokerConfig(), {name: "0:1, 1:1"})
    check_topic_config(BrokerConfig(), {name: "*"})


def test_values_are_trimmed_and_repetitions_dropped() -> None:
    """Blanks around a value or an item, and items said twice, are nothing."""
    given = {"cleanup.policy": " delete , delete ", "compression.type": " gzip "}
    config = check_topic_config(BrokerConfig(), given)
    assert (config.cleanup_policy, config.compression_type) == (("delete",), "gzip")


def test_a_value_has_a_bounded_length() -> None:
    """What every node keeps for ever is bounded, and the refusal does not repeat it all."""
    replicas = ",".join(f"{index}:1" for index in range(20_000))
    with pytest.raises(ConfigError, match="must not be longer than 32767 characters") as caught:
        check_topic_config(BrokerConfig(), {"leader.replication.throttled.replicas": replicas})
    assert len(str(caught.value)) < 300


def test_values_that_are_wrong_only_together_are_refused() -> None:
    """Two lags that contradict each other, and tiers that are not there, get Kafka's texts."""
    lags = {"min.compaction.lag.ms": "100", "max.compaction.lag.ms": "50"}
    with pytest.raises(ConfigError, match=r"^conflict topic config setting min\.comp.* \(100\) > "):
        check_topic_config(BrokerConfig(), lags)
    with pytest.raises(ConfigError, match=r"^Tiered Storage functionality is disabled"):
        check_topic_config(BrokerConfig(), {"remote.storage.enable": "true"})


def test_an_unknown_name_is_named_with_the_nearest() -> None:
    """A misspelt option leads to the right one; nonsense leads to none."""
    with pytest.raises(UnknownConfigError, match=r"the nearest one is num\.partitions"):
        BrokerConfig.from_mapping({"num.partitons": "3"})
    with pytest.raises(UnknownConfigError, match=r"no such option$"):
        BrokerConfig.from_mapping({"qqqqqqqq": "3"})
    with pytest.raises(UnknownConfigError):
        check_topic_config(BrokerConfig(), {"num.partitions": "3"})
    assert nearest("retention.ms") == "log.retention.ms"


def test_what_the_node_knows_cannot_be_configured() -> None:
    """An id or an address as an option is refused; as a fact it is listed as given at start."""
    with pytest.raises(ConfigError, match="the node's own flags give it"):
        BrokerConfig.from_mapping({"node.id": "7"})
    config = BrokerConfig.from_mapping({}, {"node.id": "7"})
    [found] = describe_broker(config, {"node.id"})
    assert (found.value, found.source, found.read_only) == ("7", Source.STATIC, True)
    assert config.node_id == 7


def test_time_can_be_given_in_three_units_and_the_smallest_wins() -> None:
    """log.retention.ms beats minutes beats hours, in whichever layer each was given."""
    hours = BrokerConfig.from_mapping({"log.retention.hours": "1"})
    assert hours.topic_defaults.retention_ms == 3_600_000
    minutes = BrokerConfig.from_mapping({"log.retention.hours": "1", "log.retention.minutes": "2"})
    assert minutes.topic_defaults.retention_ms == 120_000
    own = hours.with_dynamic({"log.retention.ms": "5"}, {})
    assert own.topic_defaults.retention_ms == 5
    never = BrokerConfig.from_mapping({"log.retention.hours": "-1"})
    assert never.topic_defaults.retention_ms == -1


def test_layers_are_told_in_the_order_in_which_they_win() -> None:
    """Topic, node, all nodes, start, default: the first is in force, the rest are listed."""
    config = BrokerConfig.from_mapping({"message.max.bytes": "4"}).with_dynamic(
        {"message.max.bytes": "3"}, {"message.max.bytes": "2"}
    )
    assert described(config, "max.message.bytes", max_message_bytes="1") == [
        ("max.message.bytes", "1", Source.TOPIC),
        ("message.max.bytes", "2", Source.BROKER),
        ("message.max.bytes", "3", Source.CLUSTER),
        ("message.max.bytes", "4", Source.STATIC),
        ("message.max.bytes", "1048588", Source.DEFAULT),
    ]
    assert TopicConfig.resolve(config, {}).batch_bytes_max == 2
    [told] = describe_cluster(config, {"message.max.bytes"})
    assert (told.value, told.source) == ("3", Source.CLUSTER)


def test_only_a_named_default_is_told_as_kafka_tells_it() -> None:
    """A default that only a later synonym has is not told; one that somebody set is."""
    assert described(BrokerConfig(), "retention.ms") == []
    config = BrokerConfig.from_mapping({"log.retention.hours": "1"})
    assert described(config, "retention.ms")[0] == ("log.retention.hours", "1", Source.STATIC)
    config = BrokerConfig().with_dynamic({}, {"log.retention.ms": "50000"})
    assert described(config, "retention.ms", retention_ms="5") == [
        ("retention.ms", "5", Source.TOPIC),
        ("log.retention.ms", "50000", Source.BROKER),
        ("log.retention.hours", "168", Source.DEFAULT),
    ]


def random_value(row: Setting, rng: random.Random) -> str | None:
    """Return a valid text for a setting; None if there is none but to leave it unset."""
    if row.check is not None or row.refused:
        return row.default
    if row.choices:
        return rng.choice(row.choices)
    if row.kind is Kind.BOOLEAN:
        return rng.choice(("true", "false"))
    if row.kind in (Kind.INT, Kind.LONG):
        low = 1 if row.at_least is None else max(int(row.at_least), 1)
        return str(rng.randint(low, int(row.at_most or low + 1000)) if low < 2**31 else low)
    return row.default or ""


@pytest.mark.parametrize("seed", range(30))
def test_a_view_is_what_looking_up_the_layers_says(seed: int) -> None:
    """Whatever is set where, the view agrees with walking the layers by hand."""
    rng = random.Random(seed)
    rows = [row for row in BROKER_SETTINGS.values() if not row.fact]
    layers: list[dict[str, str]] = [
        {
            row.name: text
            for row in rows
            if rng.random() < 0.3 and (text := random_value(row, rng)) is not None
        }
        for _ in range(3)
    ]
    own, cluster, static = layers
    config = BrokerConfig.from_mapping(static).with_dynamic(cluster, own)
    for row in rows:
        text = next((layer[row.name] for layer in layers if row.name in layer), row.default)
        assert text == config.text(row.name)
        if row.attribute:
            assert text == text_of(getattr(config, row.attribute))


def test_views_are_frozen() -> None:
    """Nobody changes a configuration that others hold."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        BrokerConfig().partitions = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        TopicConfig().retention_ms = 2  # type: ignore[misc]
