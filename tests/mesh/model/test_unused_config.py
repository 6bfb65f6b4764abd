"""Settings of Kafka that change nothing here: listed, checked, and never taken in silence."""

from __future__ import annotations

import pytest

from mesh.model.config import (
    BROKER_SETTINGS,
    TOPIC_SETTINGS,
    BrokerConfig,
    ConfigError,
    RefusedConfigError,
    Setting,
    Source,
    check_syncs,
    check_topic_config,
    describe_broker,
    describe_cluster,
)
from mesh.model.setting import HIDDEN, Kind

UNUSED = [row for row in BROKER_SETTINGS.values() if not row.attribute]
SECRETS = [row for row in UNUSED if row.sensitive]


def test_every_broker_config_of_kafka_is_listed() -> None:
    """340 that Kafka 4.3.1 lists and three of ours; three more are listed once they are set."""
    listed = {each.setting.name for each in describe_broker(BrokerConfig())}
    assert len(listed) == 343
    assert "gossamer.durability" in listed
    hidden = {name for name, row in BROKER_SETTINGS.items() if row.hidden}
    assert listed.isdisjoint(hidden)
    given = BrokerConfig().with_dynamic({}, dict.fromkeys(hidden, "5"))
    told = {each.setting.name: each for each in describe_broker(given)}
    assert {(told[name].value, told[name].source) for name in hidden} == {("5", Source.BROKER)}
    assert len(hidden) == 3


@pytest.mark.parametrize("row", UNUSED, ids=lambda row: row.name)
def test_what_changes_nothing_says_why(row: Setting) -> None:
    """Meaning and reason are whole sentences, and both are told to whoever asks."""
    assert row.about.endswith(".")
    assert row.unused is not None
    assert row.unused.endswith(".")
    assert row.documentation.startswith(f"{row.about} Changes nothing here: {row.unused}")


@pytest.mark.parametrize("row", [row for row in UNUSED if row.refused], ids=lambda row: row.name)
def test_what_would_mislead_is_refused(row: Setting) -> None:
    """Any value but the default is refused with the reason; the default itself is taken."""
    other = {
        Kind.BOOLEAN: "false" if row.default == "true" else "true",
        Kind.INT: "7",
        Kind.SHORT: "7",
        Kind.LONG: "7",
        Kind.DOUBLE: "0.25",
    }.get(row.kind, "x")
    if row.choices:
        other = next(choice for choice in row.choices if choice != row.default)
    with pytest.raises(RefusedConfigError, match=row.name) as caught:
        BrokerConfig.from_mapping({row.name: other})
    assert str(row.unused) in str(caught.value)
    if row.default is not None:
        assert BrokerConfig.from_mapping({row.name: row.default}).unused_names == [row.name]


def test_what_is_harmless_is_taken_checked_and_told() -> None:
    """A value must still be one of its type and bounds; then it is kept, shown, and named."""
    config = BrokerConfig.from_mapping({"num.io.threads": "16", "num.partitions": "2"})
    assert config.unused_names == ["num.io.threads"]
    [told] = describe_broker(config, {"num.io.threads"})
    assert (told.value, told.source, told.read_only) == ("16", Source.STATIC, False)
    for value, text in (("0", "Value must be at least 1"), ("x", "Not a number of type INT")):
        with pytest.raises(ConfigError, match=text):
            BrokerConfig.from_mapping({"num.io.threads": value})


@pytest.mark.parametrize("row", SECRETS, ids=lambda row: row.name)
def test_a_secret_is_shown_to_nobody(row: Setting) -> None:
    """Not in a refusal, and not where settings are told, whatever layer it came into."""
    with pytest.raises(ConfigError) as caught:
        BrokerConfig.from_mapping({row.name: "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert caught.value.value == HIDDEN
    held = BrokerConfig().with_dynamic({row.name: "hunter2"}, {row.name: "hunter3"})
    [told] = describe_broker(held, {row.name})
    assert (told.value, {origin.value for origin in told.origins}) == (None, {None})
    [told] = describe_cluster(held, {row.name})
    assert (told.value, {origin.value for origin in told.origins}) == (None, {None})


def test_there_are_secrets() -> None:
    """The passwords and keys that Kafka marks as sensitive are marked here."""
    assert len(SECRETS) == 10


def test_an_unclean_election_is_never_promised() -> None:
    """For a topic and for a node, true is refused with what holds instead; false is taken."""
    name = "unclean.leader.election.enable"
    for check in (
        lambda value: check_topic_config(BrokerConfig(), {name: value}),
        lambda value: BrokerConfig.from_mapping({name: value}),
    ):
        with pytest.raises(RefusedConfigError, match=r"^only false is taken for unclean\."):
            check("true")
        check("false")
    # What an earlier release took does not keep a node from starting.
    BrokerConfig().with_dynamic({name: "true"}, {})


@pytest.mark.parametrize("name", ["flush.messages", "flush.ms"])
def test_a_node_that_makes_no_syncs_promises_none(name: str) -> None:
    """With --durability memory a topic cannot ask for syncs; with disk it has them anyway."""
    memory = BrokerConfig.from_mapping({}, {"gossamer.durability": "memory"})
    with pytest.raises(RefusedConfigError, match="--durability memory does not make"):
        check_topic_config(memory, {name: "1"})
    check_topic_config(memory, {name: TOPIC_SETTINGS[name].default or ""})
    check_topic_config(BrokerConfig(), {name: "1"})
    synonym = TOPIC_SETTINGS[name].synonyms[0].name
    with pytest.raises(RefusedConfigError, match=synonym):
        BrokerConfig.from_mapping({synonym: "1"}, {"gossamer.durability": "memory"})
    with pytest.raises(RefusedConfigError, match=synonym):
        check_syncs(memory, synonym, "1")


def test_values_are_good_only_together() -> None:
    """No connection from anywhere is refused; none but from named addresses is not."""
    alone = {"max.connections.per.ip": "0"}
    with pytest.raises(RefusedConfigError, match="can be set to zero only if"):
        BrokerConfig.from_mapping(alone)
    BrokerConfig.from_mapping({**alone, "max.connections.per.ip.overrides": "10.0.0.1:5"})


@pytest.mark.parametrize("text", ["10.0.0.1", "10.0.0.1:x", "10.0.0.1:-5", "host:5", "::1"])
def test_a_bound_for_an_address_has_both(text: str) -> None:
    """Address and count; a name would have to be looked up, and nothing does."""
    with pytest.raises(ConfigError, match=r"is not ADDRESS:COUNT|is not an IPv4 or IPv6 address"):
        BrokerConfig.from_mapping({"max.connections.per.ip.overrides": text})
