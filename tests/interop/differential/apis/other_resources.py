"""DescribeConfigs and IncrementalAlterConfigs of what is neither a topic nor a broker."""

from __future__ import annotations

from mesh.wire import Message
from mesh.wire.schemas.describe_configs import DescribeConfigsRequest
from mesh.wire.schemas.incremental_alter_configs import IncrementalAlterConfigsRequest
from tests.interop.differential.apis.configs import DELETE, SET, alter, describe
from tests.interop.differential.cases import case, differs, surprise
from tests.interop.differential.talk import Talk

TOPIC, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 8, 16, 32


@case(DescribeConfigsRequest)
def configs_asked_twice(talk: Talk) -> None:
    """One resource twice, in the same words and with other keys"""
    topic = talk.topic()
    request = describe(TOPIC, topic, "retention.ms")
    request.resources += describe(TOPIC, topic, "segment.ms").resources
    talk.ask(request, label="other keys")
    request.resources += describe(TOPIC, topic, "retention.ms").resources
    talk.ask(request, label="the same")


@case(DescribeConfigsRequest)
def configs_of_loggers(talk: Talk) -> None:
    """The loggers of a broker: all of them, one, of a broker that is not there"""
    talk.ask(describe(BROKER_LOGGER, "1", "root"), label="one")
    talk.ask(describe(BROKER_LOGGER, "1", "no.such.logger"), label="none")
    for name in ("", "abc", "99"):
        talk.ask(describe(BROKER_LOGGER, name), label=f"broker {name!r}")


@case(IncrementalAlterConfigsRequest)
def alter_loggers(talk: Talk) -> None:
    """Levels, right and wrong, of loggers that are and are not there; only asked for"""
    for name, what, value in (
        ("root", SET, "DEBUG"),
        ("root", SET, "debug"),
        ("root", SET, "LOUD"),
        ("root", SET, None),
        ("root", DELETE, None),
        ("no.such.logger", SET, "INFO"),
        ("no.such.logger", DELETE, None),
    ):
        request = alter(BROKER_LOGGER, "1", (name, what, value), validate_only=True)
        talk.ask(request, label=f"{name} {what} {value}")
    for name in ("", "abc", "99"):
        request = alter(BROKER_LOGGER, name, ("root", SET, "INFO"), validate_only=True)
        talk.ask(request, label=f"broker {name!r}")


@case(DescribeConfigsRequest)
def configs_of_client_metrics(talk: Talk) -> None:
    """A subscription that nobody made, and one without a name"""
    talk.ask(describe(CLIENT_METRICS, "nobody", "interval.ms"), label="nobody's")
    talk.ask(describe(CLIENT_METRICS, "", "interval.ms"), label="no name")


@case(IncrementalAlterConfigsRequest)
def alter_client_metrics(talk: Talk) -> None:
    """Subscriptions to metrics of clients, right and wrong; only asked for"""
    for name, value in (("interval.ms", "5000"), ("interval.ms", "x"), ("nope", "1")):
        request = alter(CLIENT_METRICS, "mine", (name, SET, value), validate_only=True)
        talk.ask(request, label=f"{name} {value}")
    request = alter(CLIENT_METRICS, "", ("interval.ms", SET, "5000"), validate_only=True)
    talk.ask(request, label="no name")


@case(DescribeConfigsRequest)
def configs_of_groups(talk: Talk) -> None:
    """A group that nobody configured, and one without a name"""
    talk.ask(describe(GROUP, "nobody", "consumer.session.timeout.ms"), label="nobody's")
    talk.ask(describe(GROUP, "", "consumer.session.timeout.ms"), label="no name")


@case(IncrementalAlterConfigsRequest)
def alter_groups(talk: Talk) -> None:
    """Configurations of groups, right and wrong; only asked for"""
    key = "consumer.session.timeout.ms"
    for name, value in ((key, "50000"), (key, "x"), ("nope", "1")):
        request = alter(GROUP, "mine", (name, SET, value), validate_only=True)
        talk.ask(request, label=f"{name} {value}")
    talk.ask(alter(GROUP, "", (key, SET, "50000"), validate_only=True), label="no name")


differs(
    DescribeConfigsRequest,
    "results/topic++",
    kafka="present",
    ours="absent",
    reason="A question asked twice is answered once, or small requests would have huge answers",
    cases="configs-asked-twice",
)
WHY = {
    "*-client-metrics": "Metrics of clients (KIP-714) are not taken, so nothing about them is",
    "*-groups": "A group has no settings of its own: the node's (group.*) are for all",
}
ROWS: list[tuple[type[Message], str, object, object]] = [
    (DescribeConfigsRequest, "results/nobody/error_code", 0, 42),
    (DescribeConfigsRequest, "results/nobody/error_message", "", "text"),
    (DescribeConfigsRequest, "results/nobody/configs/*", "present", "absent"),
    (IncrementalAlterConfigsRequest, "responses/mine/error_code", 0, 42),
    (IncrementalAlterConfigsRequest, "responses/mine/error_code", 40, 42),
    (IncrementalAlterConfigsRequest, "responses/mine/error_message", None, "text"),
]
for cases, reason in WHY.items():
    for request, path, kafka, ours in ROWS:
        differs(request, path, kafka=kafka, ours=ours, reason=reason, cases=cases)
differs(
    DescribeConfigsRequest,
    "results/1/configs/root/value",
    kafka="…",
    ours="INFO",
    reason="Each writes from the level on that it was started with",
    cases="configs-of-loggers",
)

surprise(
    DescribeConfigsRequest,
    """Subscriptions to client metrics and groups that nobody made are described with their
    defaults, as if they were there.""",
)
surprise(
    DescribeConfigsRequest,
    """The type of a logger's level is UNKNOWN (0), its documentation an empty string.""",
)
surprise(
    IncrementalAlterConfigsRequest,
    """The levels of loggers are told apart by case: `debug` is refused. The root's cannot be
    taken away.""",
)
