"""AlterConfigs: the older form, which replaces all that a resource has of its own."""

from __future__ import annotations

from mesh.wire.schemas.alter_configs import (
    AlterableConfig,
    AlterConfigsRequest,
    AlterConfigsResource,
)
from tests.interop.differential.apis.configs import look
from tests.interop.differential.cases import case, differs, surprise
from tests.interop.differential.talk import Talk

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
NO_ANSWER_WAIT_S = 3


def replace(
    kind: int, name: str, *configs: tuple[str, str | None], validate_only: bool = False
) -> AlterConfigsRequest:
    """Return an AlterConfigs of one resource."""
    values = [AlterableConfig(name=key, value=value) for key, value in configs]
    resource = AlterConfigsResource(resource_type=kind, resource_name=name, configs=values)
    return AlterConfigsRequest(resources=[resource], validate_only=validate_only)


@case(AlterConfigsRequest)
def replace_configs(talk: Talk) -> None:
    """Each request leaves what it names, and nothing else"""
    topic = talk.topic(configs={"cleanup.policy": "compact"})
    keys = "retention.ms", "segment.ms", "cleanup.policy"
    talk.ask(replace(TOPIC, topic, ("retention.ms", "1000"), ("segment.ms", "9000")))
    look(talk, topic, *keys)
    talk.ask(replace(TOPIC, topic, ("segment.ms", "8000")))
    look(talk, topic, *keys)
    talk.ask(replace(TOPIC, topic))
    look(talk, topic, *keys)


@case(AlterConfigsRequest)
def replace_configs_wrong(talk: Talk) -> None:
    """Values and names that cannot be; the topic stays as it was"""
    topic = talk.topic(configs={"retention.ms": "5000000"})
    for configs in (
        [("retention.ms", "soon")],
        [("retention.ms", None)],
        [("retention.ms", "")],
        [("no.such.config", "1")],
        [("", "1")],
        [("segment.bytes", "1")],
        [("cleanup.policy", "burn")],
        [("retention.ms", "1000"), ("segment.bytes", "x")],
        [("retention.ms", "1000"), ("segment.ms", None)],
    ):
        talk.ask(replace(TOPIC, topic, *configs), label=f"{configs}")
    look(talk, topic, "retention.ms", "segment.bytes", "segment.ms", "cleanup.policy")


@case(AlterConfigsRequest)
def replace_configs_key_twice(talk: Talk) -> None:
    """One key twice in a resource"""
    topic = talk.topic()
    talk.ask(replace(TOPIC, topic, ("retention.ms", "1000"), ("retention.ms", "2000")))
    look(talk, topic, "retention.ms")


@case(AlterConfigsRequest)
def replace_configs_validated_only(talk: Talk) -> None:
    """Requests that only ask whether they would be right"""
    topic = talk.topic(configs={"segment.ms": "5000000"})
    for value in ("1000", "soon"):
        talk.ask(replace(TOPIC, topic, ("retention.ms", value), validate_only=True))
    look(talk, topic, "retention.ms", "segment.ms")
    for name in ("", "1"):
        request = replace(BROKER, name, ("message.max.bytes", "2000000"), validate_only=True)
        talk.ask(request, label=f"broker {name!r}")


@case(AlterConfigsRequest)
def replace_configs_unknown(talk: Talk) -> None:
    """Topics, brokers and kinds that do not exist"""
    for kind, name in (
        (TOPIC, talk.name()),
        (TOPIC, ""),
        (TOPIC, "a/b"),
        (BROKER, "99"),
        (BROKER, "abc"),
        (BROKER_LOGGER, "1"),
        (BROKER_LOGGER, "99"),
        (BROKER_LOGGER, ""),
        (CLIENT_METRICS, ""),
        (GROUP, ""),
        (0, "x"),
        (77, "x"),
    ):
        request = replace(kind, name, ("retention.ms", "1000"))
        talk.ask(request, label=f"kind {kind} name {name[:8]!r}")


@case(AlterConfigsRequest)
def replace_configs_of_broker(talk: Talk) -> None:
    """A broker's own: right, wrong, not changeable, unknown; nothing stays"""
    for configs in (
        [("message.max.bytes", "x")],
        [("message.max.bytes", None)],
        [("num.partitions", "5")],
        [("node.id", "5")],
    ):
        talk.ask(replace(BROKER, "1", *configs), label=f"{configs}")
        talk.ask(replace(BROKER, "", *configs, validate_only=True), label=f"all {configs}")
    talk.ask(replace(BROKER, "1"), label="none")


@case(AlterConfigsRequest)
def replace_configs_several(talk: Talk) -> None:
    """Several resources: each has its own answer; one twice"""
    topic = talk.topic()
    request = replace(TOPIC, topic, ("retention.ms", "1000"))
    request.resources += replace(TOPIC, talk.name(), ("retention.ms", "1000")).resources
    talk.ask(request)
    look(talk, topic, "retention.ms")
    talk.ask(AlterConfigsRequest(resources=[]), label="none")


@case(AlterConfigsRequest)
def replace_configs_twice(talk: Talk) -> None:
    """One resource in two places; the topic stays as it was"""
    topic = talk.topic()
    request = replace(TOPIC, topic, ("retention.ms", "3000"))
    request.resources += replace(TOPIC, topic, ("segment.ms", "1000")).resources
    answer = talk.connection.ask(request, talk.version, wait_s=NO_ANSWER_WAIT_S)
    talk.hear(answer, label="twice")
    talk.close()  # Kafka reads no more from this connection.
    look(talk, topic, "retention.ms", "segment.ms")


differs(
    AlterConfigsRequest,
    "responses/(empty)/error_code",
    kafka=40,
    ours=0,
    reason="Kafka's cluster keeps the min.insync.replicas that its formatting set; ours has none",
    cases="replace-configs-validated-only",
)
differs(
    AlterConfigsRequest,
    "responses/(empty)/error_message",
    kafka="text",
    ours=None,
    reason="Kafka's cluster keeps the min.insync.replicas that its formatting set; ours has none",
    cases="replace-configs-validated-only",
)
for path, kafka, ours in (
    ("outcome", "no answer", "absent"),
    ("throttle_time_ms", "absent", 0),
    ("responses/*", "absent", "present"),
):
    differs(
        AlterConfigsRequest,
        path,
        kafka=kafka,
        ours=ours,
        reason="Each of the two places gets INVALID_REQUEST; from Kafka there is no answer at all",
        cases="replace-configs-twice",
    )

surprise(
    AlterConfigsRequest,
    """A resource that occurs twice is never answered: the broker fails at counting the errors of
    its answer, and reads no more from that connection.""",
)
surprise(
    AlterConfigsRequest,
    """Loggers of brokers are an unknown type here, though IncrementalAlterConfigs knows them.""",
)
