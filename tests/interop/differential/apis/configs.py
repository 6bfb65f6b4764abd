"""DescribeConfigs and IncrementalAlterConfigs."""

from __future__ import annotations

from mesh.wire.schemas.describe_configs import DescribeConfigsRequest, DescribeConfigsResource
from mesh.wire.schemas.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from tests.interop.differential.cases import case, differs, surprise
from tests.interop.differential.talk import Talk

TOPIC, BROKER, BROKER_LOGGER = 2, 4, 8
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3


def describe(
    kind: int, name: str, *keys: str, synonyms: bool = False, documentation: bool = False
) -> DescribeConfigsRequest:
    """Return a DescribeConfigs of one resource; without keys it asks for all."""
    resource = DescribeConfigsResource(
        resource_type=kind, resource_name=name, configuration_keys=list(keys) or None
    )
    return DescribeConfigsRequest(
        resources=[resource], include_synonyms=synonyms, include_documentation=documentation
    )


def alter(
    kind: int, name: str, *changes: tuple[str, int, str | None], validate_only: bool = False
) -> IncrementalAlterConfigsRequest:
    """Return an IncrementalAlterConfigs of one resource."""
    configs = [
        AlterableConfig(name=key, config_operation=operation, value=value)
        for key, operation, value in changes
    ]
    resource = AlterConfigsResource(resource_type=kind, resource_name=name, configs=configs)
    return IncrementalAlterConfigsRequest(resources=[resource], validate_only=validate_only)


@case(DescribeConfigsRequest)
def configs_of_topic(talk: Talk) -> None:
    """Everything about a topic, some of it set at its creation"""
    configs = {"retention.ms": "5000000", "cleanup.policy": "compact"}
    talk.ask(describe(TOPIC, talk.topic(configs=configs)))


@case(DescribeConfigsRequest)
def configs_with_synonyms(talk: Talk) -> None:
    """The same, with where each value may come from"""
    topic = talk.topic(configs={"retention.ms": "5000000"})
    keys = "retention.ms", "cleanup.policy", "max.message.bytes", "segment.bytes"
    talk.ask(describe(TOPIC, topic, *keys, synonyms=True))


@case(DescribeConfigsRequest, versions=(3, 4))
def configs_with_documentation(talk: Talk) -> None:
    """The same, with texts"""
    talk.ask(describe(TOPIC, talk.topic(), "retention.ms", documentation=True))


@case(DescribeConfigsRequest)
def configs_by_key(talk: Talk) -> None:
    """Some keys only, known and unknown; an empty list of keys"""
    topic = talk.topic()
    talk.ask(describe(TOPIC, topic, "retention.ms", "no.such.config", "retention.ms"))
    empty = describe(TOPIC, topic)
    empty.resources[0].configuration_keys = []
    talk.ask(empty)


@case(DescribeConfigsRequest)
def configs_of_unknown(talk: Talk) -> None:
    """Topics, brokers and kinds that do not exist"""
    for kind, name in (
        (TOPIC, talk.name()),
        (TOPIC, "a/b"),
        (TOPIC, ""),
        (BROKER, "99"),
        (BROKER, "abc"),
        (BROKER_LOGGER, "99"),
        (BROKER_LOGGER, ""),
        (0, "x"),
        (1, "x"),
        (77, "x"),
    ):
        talk.ask(describe(kind, name, "retention.ms"), label=f"kind {kind} name {name[:8]!r}")


@case(DescribeConfigsRequest)
def configs_of_broker(talk: Talk) -> None:
    """A broker's own, and the defaults of all brokers"""
    keys = "log.retention.hours", "num.partitions", "auto.create.topics.enable", "message.max.bytes"
    talk.ask(describe(BROKER, "1", *keys, synonyms=True))
    talk.ask(describe(BROKER, ""), label="defaults of all")


@case(DescribeConfigsRequest)
def configs_several(talk: Talk) -> None:
    """Several resources in one request, one of them twice"""
    topic = talk.topic()
    request = describe(TOPIC, topic, "retention.ms")
    request.resources += describe(TOPIC, talk.name(), "retention.ms").resources
    request.resources += describe(TOPIC, topic, "cleanup.policy").resources
    talk.ask(request)
    talk.ask(DescribeConfigsRequest(resources=[]), label="none")


def look(talk: Talk, topic: str, *keys: str) -> None:
    """Record what these configs of a topic are now, with their sources."""
    talk.settle()
    talk.ask(describe(TOPIC, topic, *keys, synonyms=True), version=4, label="look")


@case(IncrementalAlterConfigsRequest)
def alter_sets_and_deletes(talk: Talk) -> None:
    """A value is set, set again, and deleted"""
    topic = talk.topic()
    for change in (
        ("retention.ms", SET, "1000"),
        ("retention.ms", SET, "2000"),
        ("retention.ms", DELETE, None),
        ("retention.ms", DELETE, None),
    ):
        talk.ask(alter(TOPIC, topic, change))
        look(talk, topic, "retention.ms")


@case(IncrementalAlterConfigsRequest)
def alter_lists(talk: Talk) -> None:
    """A list is appended to and subtracted from; nothing else is a list"""
    topic = talk.topic()
    for change in (
        ("cleanup.policy", APPEND, "compact"),
        ("cleanup.policy", APPEND, "compact"),
        ("cleanup.policy", SUBTRACT, "delete"),
        ("cleanup.policy", SUBTRACT, "absent"),
        ("cleanup.policy", APPEND, "burn"),
        ("cleanup.policy", SUBTRACT, "compact"),
        ("retention.ms", APPEND, "1000"),
        ("retention.ms", SUBTRACT, "1000"),
    ):
        talk.ask(alter(TOPIC, topic, change), label=f"{change[0]} {change[1]} {change[2]}")
        look(talk, topic, "cleanup.policy")


@case(IncrementalAlterConfigsRequest)
def alter_wrong(talk: Talk) -> None:
    """Values, names and operations that cannot be; the topic stays as it was"""
    topic = talk.topic()
    for change in (
        ("retention.ms", SET, "soon"),
        ("retention.ms", SET, None),
        ("retention.ms", SET, ""),
        ("no.such.config", SET, "1"),
        ("no.such.config", DELETE, None),
        ("", SET, "1"),
        ("segment.bytes", SET, "1"),
        ("cleanup.policy", SET, "burn"),
    ):
        talk.ask(alter(TOPIC, topic, change), label=f"{change[0]} {change[1]} {change[2]}")
    look(talk, topic, "retention.ms", "segment.bytes", "cleanup.policy")


@case(IncrementalAlterConfigsRequest, versions=(1, 1))
def alter_unknown_operation(talk: Talk) -> None:
    """An operation that does not exist"""
    talk.ask(alter(TOPIC, talk.topic(), ("retention.ms", 9, "1000")))


@case(IncrementalAlterConfigsRequest)
def alter_all_or_nothing(talk: Talk) -> None:
    """Two changes of a topic, one of them wrong; one key twice"""
    topic = talk.topic()
    talk.ask(alter(TOPIC, topic, ("retention.ms", SET, "1000"), ("segment.bytes", SET, "x")))
    look(talk, topic, "retention.ms")
    talk.ask(alter(TOPIC, topic, ("retention.ms", SET, "1000"), ("retention.ms", SET, "2000")))
    look(talk, topic, "retention.ms")
    talk.ask(alter(TOPIC, topic, ("retention.ms", SET, "1000"), ("segment.ms", SET, "9000")))
    look(talk, topic, "retention.ms", "segment.ms")


@case(IncrementalAlterConfigsRequest)
def alter_validated_only(talk: Talk) -> None:
    """A request that only asks whether it would be right"""
    topic = talk.topic()
    for value in ("1000", "soon"):
        talk.ask(alter(TOPIC, topic, ("retention.ms", SET, value), validate_only=True))
    look(talk, topic, "retention.ms")


@case(IncrementalAlterConfigsRequest)
def alter_unknown(talk: Talk) -> None:
    """Topics, brokers and kinds that do not exist"""
    for kind, name in ((TOPIC, talk.name()), (TOPIC, ""), (BROKER, "99"), (0, "x"), (77, "x")):
        request = alter(kind, name, ("retention.ms", SET, "1000"))
        talk.ask(request, label=f"kind {kind} name {name!r}")


@case(IncrementalAlterConfigsRequest)
def alter_several(talk: Talk) -> None:
    """Several resources: each has its own answer; one twice is refused"""
    topic = talk.topic()
    request = alter(TOPIC, topic, ("retention.ms", SET, "1000"))
    request.resources += alter(TOPIC, talk.name(), ("retention.ms", SET, "1000")).resources
    talk.ask(request)
    look(talk, topic, "retention.ms")
    request = alter(TOPIC, topic, ("retention.ms", SET, "3000"))
    request.resources += alter(TOPIC, topic, ("segment.ms", SET, "1000")).resources
    talk.ask(request, label="twice")
    look(talk, topic, "retention.ms")
    talk.ask(IncrementalAlterConfigsRequest(resources=[]), label="none")


for path, kafka, ours in (
    ("min.insync.replicas/config_source", 3, 5),
    ("min.insync.replicas", "present", "absent"),
):
    differs(
        DescribeConfigsRequest,
        f"results/*/configs/{path}",
        kafka=kafka,
        ours=ours,
        reason="Formatting a Kafka cluster sets it for all brokers; our value is a default",
    )
differs(
    IncrementalAlterConfigsRequest,
    "responses/topic/error_code",
    kafka=-1,
    ours=42,
    reason="An operation that does not exist is an invalid request",
    cases="alter-unknown-operation",
)
differs(
    IncrementalAlterConfigsRequest,
    "responses/topic/error_message",
    kafka=None,
    ours="text",
    reason="We say why",
    cases="alter-unknown-operation",
)

surprise(
    DescribeConfigsRequest,
    """error_message is an empty string on success, not null, and so it is for an unknown
    topic.""",
)
surprise(
    DescribeConfigsRequest,
    """An empty list of keys means all of them, as null does.""",
)
surprise(
    DescribeConfigsRequest,
    """min.insync.replicas of every topic has the source DYNAMIC_DEFAULT_BROKER_CONFIG (3):
    since eligible.leader.replicas.version 1 the cluster sets it when it is formatted.""",
)
surprise(
    DescribeConfigsRequest,
    """segment.bytes and the like have the broker's name (log.segment.bytes) as a synonym, but
    retention.ms has none unless it is set on the topic.""",
)
surprise(
    IncrementalAlterConfigsRequest,
    """An operation that does not exist is UNKNOWN_SERVER_ERROR (-1) without a text, and the
    controller stumbles over it (a null pointer): it resigns and takes two seconds to return.""",
)
surprise(
    IncrementalAlterConfigsRequest,
    """Deleting a key that does not exist succeeds.""",
)
surprise(
    IncrementalAlterConfigsRequest,
    """Subtracting the last value of cleanup.policy leaves an empty list, which is stored as
    such.""",
)
surprise(
    IncrementalAlterConfigsRequest,
    """A resource that occurs twice is refused in each of its places, and nothing of it is
    done.""",
)
