"""DescribeConfigs and IncrementalAlterConfigs."""

from __future__ import annotations

from pathlib import Path

from mesh.wire.schemas.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResponse,
)
from mesh.wire.schemas.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from tests.interop.differential.cases import ANY, case, differs, surprise
from tests.interop.differential.talk import Talk
from tests.interop.jvm import properties

TOPIC, BROKER, BROKER_LOGGER = 2, 4, 8
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3

# Each version changes another one, because versions are asked side by side.
HARMLESS = ("background.threads", "num.recovery.threads.per.data.dir")
THROTTLES = ("leader.replication.throttled.rate", "follower.replication.throttled.rate")


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
def configs_of_topic_with_all_synonyms(talk: Talk) -> None:
    """All that a topic has, with where every value may come from"""
    talk.ask(describe(TOPIC, talk.topic(), synonyms=True))


GIVEN = {name for name in properties(Path("."), 0, {}) if name != "log.dirs"}
"""What the harness gives Kafka at its start: such a value is told as nobody else has it."""


@case(DescribeConfigsRequest)
def configs_of_broker_whole(talk: Talk) -> None:
    """All that a broker has, but for what each is given at its start"""
    answer = talk.connection.ask(describe(BROKER, "1", synonyms=True), talk.version)
    if isinstance(answer, DescribeConfigsResponse):
        for result in answer.results:
            # Other cases change these, side by side with this one.
            apart = GIVEN.union(HARMLESS, THROTTLES)
            result.configs = [each for each in result.configs if each.name not in apart]
    talk.hear(answer)


@case(DescribeConfigsRequest)
def configs_of_broker_by_key(talk: Talk) -> None:
    """Secrets, settings that are unset, names that do not exist"""
    keys = "ssl.key.password", "log.retention.ms", "no.such.config", "replica.selector.class"
    talk.ask(describe(BROKER, "1", *keys, synonyms=True))


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


@case(IncrementalAlterConfigsRequest)
def alter_broker_sets_and_deletes(talk: Talk) -> None:
    """A value for all brokers, one for this broker, which wins; then both are deleted"""
    key = HARMLESS[talk.version]
    # Kafka lets a number of threads grow to at most twice what it is.
    lower, higher = (("11", "12"), ("3", "4"))[talk.version]
    for name, operation, value in (
        ("", SET, lower),
        ("1", SET, higher),
        ("1", DELETE, None),
        ("", DELETE, None),
        ("", DELETE, None),
    ):
        talk.ask(alter(BROKER, name, (key, operation, value)))
        talk.settle()
        talk.ask(describe(BROKER, "1", key, synonyms=True), version=4, label="look at the broker")
        talk.ask(describe(BROKER, "", key, synonyms=True), version=4, label="look at all")


@case(IncrementalAlterConfigsRequest)
def alter_broker_throttle(talk: Talk) -> None:
    """What kafka-reassign-partitions sets is listed only while it is set"""
    key = THROTTLES[talk.version]
    for operation, value in ((SET, "1000"), (SET, "-1"), (DELETE, None)):
        talk.ask(alter(BROKER, "1", (key, operation, value)))
        talk.settle()
        talk.ask(describe(BROKER, "1", key, synonyms=True), version=4, label="look")


@case(IncrementalAlterConfigsRequest)
def alter_broker_wrong(talk: Talk) -> None:
    """Values, names and operations that cannot be, for all brokers and for one, in these words"""
    for name in ("", "1"):
        for change in (
            ("num.io.threads", SET, "x"),
            ("num.io.threads", SET, "0"),
            ("num.io.threads", SET, None),
            ("log.retention.bytes", SET, "9223372036854775808"),
            ("log.preallocate", SET, "maybe"),
            ("log.cleaner.min.cleanable.ratio", SET, "1.5"),
            ("log.cleaner.io.buffer.load.factor", SET, "half"),
            ("compression.type", SET, "GZIP"),
            ("compression.lz4.level", SET, "18"),
            ("log.cleanup.policy", SET, "burn"),
            ("log.cleanup.policy", APPEND, "burn"),
            ("log.message.timestamp.type", SET, "NoTime"),
            ("min.insync.replicas", SET, "0"),
            ("num.partitions", SET, "5"),
            ("num.partitions", DELETE, None),
            ("process.roles", SET, "broker"),
            ("advertised.listeners", SET, "PLAINTEXT://localhost:1"),
            ("log.dirs", SET, "/nowhere"),
            ("no.such.config", DELETE, None),
        ):
            listen(talk, alter(BROKER, name, change), f"{name} {change[0]} {change[2]}")
        for changes in (
            (("num.io.threads", APPEND, "5"),),
            (("num.partitions", SUBTRACT, "5"),),
            (("num.io.threads", SET, "5"), ("num.io.threads", SET, "6")),
            (("num.partitions", SET, "5"), ("log.dirs", SET, "/nowhere")),
            (("num.network.threads", SET, "4"), ("num.io.threads", SET, "x")),
        ):
            talk.ask(alter(BROKER, name, *changes), label=f"{name} {changes[0][0]} {len(changes)}")
    listen(talk, alter(BROKER, "", ("ssl.client.auth", SET, "none")), "for one only")
    talk.ask(alter(BROKER, "", ("listeners", SET, "PLAINTEXT://:1")), label="listeners")


@case(IncrementalAlterConfigsRequest)
def alter_broker_validated_only(talk: Talk) -> None:
    """A request that only asks whether it would be right, lists appended to and cut, too"""
    for change in (
        ("num.io.threads", SET, "9"),
        ("num.io.threads", SET, "none"),
        ("log.cleanup.policy", APPEND, "compact"),
        ("log.cleanup.policy", SUBTRACT, "delete"),
        ("log.cleanup.policy", SUBTRACT, "absent"),
    ):
        talk.ask(alter(BROKER, "", change, validate_only=True), label=f"{change[0]} {change[2]}")
    talk.settle()
    talk.ask(describe(BROKER, "1", "log.cleanup.policy", synonyms=True), version=4, label="look")


@case(IncrementalAlterConfigsRequest)
def alter_broker_differently(talk: Talk) -> None:
    """What is taken in other ways here: names nobody reads, bounds for one, no connections"""
    for name, change in (
        ("1", (f"no.such.config.{talk.version}", SET, "1")),
        ("1", (f"no.such.config.{talk.version}", DELETE, None)),
        ("1", ("min.insync.replicas", DELETE, None)),
    ):
        talk.ask(alter(BROKER, name, change), label=f"{name} {change[0]} {change[2]}")
    for key, value in (
        ("unclean.leader.election.enable", "true"),
        ("max.connections", "0"),
        ("max.connection.creation.rate", "1000"),
        ("max.connections.per.ip.overrides", "127.0.0.1:-5"),
    ):
        talk.ask(alter(BROKER, "", (key, SET, value), validate_only=True), label=key)


GOOD = {
    "cleanup.policy": " compact , delete ",
    "compression.gzip.level": "1",
    "compression.lz4.level": "17",
    "compression.type": " zstd ",
    "compression.zstd.level": "-131072",
    "delete.retention.ms": "0",
    "file.delete.delay.ms": "+5",
    "flush.messages": "1",
    "flush.ms": "9223372036854775807",
    "follower.replication.throttled.replicas": "0:1, 1:1",
    "index.interval.bytes": "0",
    "leader.replication.throttled.replicas": "*",
    "local.retention.bytes": "-2",
    "local.retention.ms": "77",
    "max.compaction.lag.ms": "9",
    "max.message.bytes": "0",
    "message.timestamp.after.max.ms": "0",
    "message.timestamp.before.max.ms": "007",
    "message.timestamp.type": "LogAppendTime",
    "min.cleanable.dirty.ratio": "1e-4",
    "min.compaction.lag.ms": "9",
    "min.insync.replicas": "2147483647",
    "preallocate": " TRUE ",
    "remote.log.copy.disable": "true",
    "remote.log.delete.on.disable": "true",
    "retention.bytes": "-9223372036854775808",
    "retention.ms": "-1",
    "segment.bytes": "1048576",
    "segment.index.bytes": "4",
    "segment.jitter.ms": "0",
    "segment.ms": "1",
}


@case(IncrementalAlterConfigsRequest)
def alter_every_topic_config(talk: Talk) -> None:
    """Every config of a topic at once, each at an end of what it takes, written as people do"""
    topic = talk.topic()
    talk.ask(alter(TOPIC, topic, *((name, SET, value) for name, value in GOOD.items())))
    look(talk, topic)


@case(IncrementalAlterConfigsRequest)
def alter_wrong_in_words(talk: Talk) -> None:
    """A wrong value of each type and beyond each bound: the text says what would be taken"""
    topic = talk.topic()
    for name, value in (
        ("retention.ms", "soon"),
        ("retention.ms", "1.5"),
        ("retention.ms", "9223372036854775808"),
        ("retention.ms", "-2"),
        ("segment.bytes", "3000000000"),
        ("segment.bytes", "1048575"),
        ("segment.ms", "0"),
        ("preallocate", "yes"),
        ("preallocate", ""),
        ("min.cleanable.dirty.ratio", "half"),
        ("min.cleanable.dirty.ratio", "-0.5"),
        ("min.cleanable.dirty.ratio", "1.00001"),
        ("compression.type", "brotli"),
        ("compression.gzip.level", "0"),
        ("compression.gzip.level", "10"),
        ("compression.lz4.level", "0"),
        ("compression.zstd.level", "23"),
        ("cleanup.policy", "burn"),
        ("cleanup.policy", "delete,burn"),
        ("cleanup.policy", "delete,,compact"),
        ("message.timestamp.type", "createtime"),
        ("min.insync.replicas", "0"),
        ("leader.replication.throttled.replicas", "0-1"),
        ("max.message.bytes", "-1"),
        ("remote.storage.enable", "true"),
        ("no.such.config", "1"),
        ("num.partitions", "1"),
    ):
        listen(talk, alter(TOPIC, topic, (name, SET, value)), f"{name} {value}")
    lags = ("min.compaction.lag.ms", SET, "100"), ("max.compaction.lag.ms", SET, "50")
    listen(talk, alter(TOPIC, topic, *lags), "lags")


@case(IncrementalAlterConfigsRequest)
def alter_to_unclean(talk: Talk) -> None:
    """A topic that would rather lose records than wait"""
    talk.ask(alter(TOPIC, talk.topic(), ("unclean.leader.election.enable", SET, "true")))


def listen(talk: Talk, request: IncrementalAlterConfigsRequest, label: str) -> None:
    """Record an answer to a change of one resource with the wording of its error text."""
    answer = talk.connection.ask(request, talk.version)
    if isinstance(answer, IncrementalAlterConfigsResponse):
        for response in answer.responses:
            # Names are compared as they are, texts are not.
            response.resource_name = response.error_message or "(taken)"
    talk.hear(answer, label=label)


MIN_ISR = "results/*/configs/min.insync.replicas"
for request in (DescribeConfigsRequest, IncrementalAlterConfigsRequest):
    for path, kafka, ours in (
        (f"{MIN_ISR}/config_source", 3, 5),
        (f"{MIN_ISR}/synonyms/min.insync.replicas*/source", 3, 5),
        (f"{MIN_ISR}*", "present", "absent"),
    ):
        if request is IncrementalAlterConfigsRequest and path.endswith("config_source"):
            continue  # A topic whose every config was set has none from elsewhere.
        differs(
            request,
            path,
            kafka=kafka,
            ours=ours,
            reason="Formatting a Kafka cluster sets it for all brokers; our value is a default",
            cases="*" if request is DescribeConfigsRequest else "alter-every-topic-config",
        )
for name, kafka, ours, reason in (
    ("default.replication.factor", "1", "3", "As many as there are nodes, odd, up to 3"),
    ("queued.max.request.bytes", "-1", "67108864", "Memory for requests is always bounded"),
    ("log.dirs", ANY, ANY, "Each has its own directory"),
    ("log.dir", ANY, ANY, "It names the one directory there is, as log.dirs does"),
):
    differs(
        DescribeConfigsRequest,
        f"results/1/configs/{name}/*",
        kafka=kafka,
        ours=ours,
        reason=reason,
        cases="configs-of-broker-whole",
    )
for name in ("gossamer.durability", "replica.replace.after.ms", "replication.throttled.rate"):
    differs(
        DescribeConfigsRequest,
        f"results/1/configs/{name}",
        kafka="absent",
        ours="present",
        reason="A setting that only we have",
        cases="configs-of-broker-whole",
    )


def only_we_refuse(resource: str, code: int, cases: str, reason: str) -> None:
    """Declare that Kafka takes a change which is an error here."""
    for path, kafka, ours in (("code", 0, code), ("message", None, "text")):
        differs(
            IncrementalAlterConfigsRequest,
            f"responses/{resource}/error_{path}",
            kafka=kafka,
            ours=ours,
            reason=reason,
            cases=cases,
        )


only_we_refuse(
    "1",
    40,
    "alter-broker-differently",
    "We take no name that nothing reads; Kafka keeps it and hides its value",
)
only_we_refuse(
    "(empty)",
    42,
    "alter-broker-differently",
    "What would promise something that is not kept is refused (docs/config.md)",
)
only_we_refuse(
    "topic",
    40,
    "alter-to-unclean",
    "What is committed is never given up, so an unclean election is not promised",
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
surprise(
    DescribeConfigsRequest,
    """What is set for all brokers lists itself as its only synonym, but for a broker the same value
    lists the default after it.""",
)
surprise(
    DescribeConfigsRequest,
    """A broker lists 340 configs, and three more (the throttles of kafka-reassign-partitions) only
    where they are set.""",
)
surprise(
    IncrementalAlterConfigsRequest,
    """A config of a broker that does not exist is taken, kept, and told as a secret of unknown
    type.""",
)
surprise(
    IncrementalAlterConfigsRequest,
    """min.insync.replicas can be set for all brokers but not deleted for all, and neither for one:
    eligible leader replicas are on.""",
)
surprise(
    IncrementalAlterConfigsRequest,
    """A wrong value for a broker is INVALID_REQUEST (42), for a topic INVALID_CONFIG (40), with the
    same text.""",
)
surprise(
    IncrementalAlterConfigsRequest,
    """max.connections.per.ip.overrides takes negative counts, and a number of threads may at most
    double or halve at a time.""",
)
