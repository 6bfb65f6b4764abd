"""CreateTopics, DeleteTopics and CreatePartitions."""

from __future__ import annotations

from mesh.wire.schemas.create_partitions import (
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
)
from mesh.wire.schemas.create_topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from mesh.wire.schemas.delete_topics import DeleteTopicsRequest, DeleteTopicState
from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic
from tests.interop.differential.ask import UNKNOWN_ID, topic_id
from tests.interop.differential.cases import case, differs, surprise
from tests.interop.differential.talk import SetupError, Talk


def creatable(
    name: str,
    partitions: int = 1,
    replicas: int = 1,
    *,
    assignments: dict[int, list[int]] | None = None,
    configs: list[tuple[str, str | None]] | None = None,
) -> CreatableTopic:
    """Return one topic of a CreateTopics request."""
    return CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=replicas,
        assignments=[
            CreatableReplicaAssignment(partition_index=index, broker_ids=ids)
            for index, ids in (assignments or {}).items()
        ],
        configs=[CreatableTopicConfig(name=k, value=v) for k, v in configs or []],
    )


def create(
    *topics: CreatableTopic, validate_only: bool = False, timeout_ms: int = 15_000
) -> CreateTopicsRequest:
    """Return a CreateTopics request."""
    return CreateTopicsRequest(
        topics=list(topics), timeout_ms=timeout_ms, validate_only=validate_only
    )


def described(talk: Talk, *names: str) -> None:
    """Record what Metadata says of these topics."""
    talk.settle()
    wanted = [MetadataRequestTopic(name=name) for name in names]
    request = MetadataRequest(topics=wanted, allow_auto_topic_creation=False)
    talk.ask(request, version=9, label="look")


@case(CreateTopicsRequest)
def create_topics(talk: Talk) -> None:
    """Two topics in one request, then one of them again"""
    one, two = talk.name("one"), talk.name("two")
    talk.ask(create(creatable(one), creatable(two, 3)))
    talk.wait_for_leaders(two, 3)
    talk.ask(create(creatable(one)), label="exists")
    described(talk, one, two)


@case(CreateTopicsRequest)
def create_topics_twice_in_one(talk: Talk) -> None:
    """The same name twice in a request"""
    name = talk.name("twice")
    talk.ask(create(creatable(name), creatable(name), creatable(talk.name("once"))))


@case(CreateTopicsRequest)
def create_topics_no_time(talk: Talk) -> None:
    """A time that is up at once: nothing is made"""
    topic = creatable(talk.name("late"))
    for timeout_ms in (-1, -1000):  # With 0 Kafka may look first, and then at the time.
        other = creatable("a/b", 0)
        # Of a topic that is named twice Kafka says now that it is, now that the time is up.
        for topics in ([topic], [topic, other], []):
            request = create(*topics, timeout_ms=timeout_ms)
            talk.ask(request, label=f"{len(topics)} topics, {timeout_ms} ms")
    talk.ask(create(topic, validate_only=True, timeout_ms=-1), label="validated only")
    talk.ask(create(topic), label="it was not made")


@case(CreateTopicsRequest)
def create_topics_none(talk: Talk) -> None:
    """An empty request"""
    talk.ask(create())


@case(CreateTopicsRequest)
def create_topics_defaults(talk: Talk) -> None:
    """Partitions and replicas of -1 are the broker's defaults, from version 4"""
    talk.ask(create(creatable(talk.name("one"), -1, -1)))
    talk.ask(create(creatable(talk.name("two"), 2, -1)))
    talk.ask(create(creatable(talk.name("three"), -1, 1)))


@case(CreateTopicsRequest)
def create_topics_counts(talk: Talk) -> None:
    """Counts of partitions and replicas that cannot be"""
    huge = 2**31 - 1, 1
    for partitions, replicas in ((0, 1), (-2, 1), (1, 0), (1, -2), (1, 4), (1, 32767), huge):
        topic = creatable(talk.name("never"), partitions, replicas)
        talk.ask(create(topic), label=f"{partitions} partitions, {replicas} replicas")


@case(CreateTopicsRequest)
def create_topics_names(talk: Talk) -> None:
    """Names that no topic may have"""
    for name in ("", ".", "..", "a b", "a/b", "a:b", "é", "x" * 250):
        talk.ask(create(creatable(name)), label=name[:10])
    long = talk.name("x" * (249 - len(talk.name(""))))
    talk.ask(create(creatable(long)), label="249 letters")


@case(CreateTopicsRequest)
def create_topics_colliding(talk: Talk) -> None:
    """Names that differ only in dots and underscores"""
    talk.topic("a.b_c")
    talk.ask(create(creatable(talk.name("a_b.c"))))
    pair = creatable(talk.name("d.e")), creatable(talk.name("d_e"))
    talk.ask(create(*pair), label="in one request")


@case(CreateTopicsRequest)
def create_topics_assigned(talk: Talk) -> None:
    """Replicas placed by hand"""
    places: dict[str, dict[int, list[int]]] = {
        "right": {0: [1], 1: [1]},
        "another order": {1: [1], 0: [1]},
        "a gap": {0: [1], 2: [1]},
        "not from 0": {1: [1]},
        "no such broker": {0: [77]},
        "negative broker": {0: [-1]},
        "twice the same broker": {0: [1, 1]},
        "nobody": {0: []},
        "negative partition": {-1: [1]},
    }
    for label, assignments in places.items():
        name = talk.name(label.replace(" ", "-"))
        talk.ask(create(creatable(name, -1, -1, assignments=assignments)), label=label)
    both = creatable(talk.name("both"), 1, 1, assignments={0: [1]})
    talk.ask(create(both), label="counts and places")


@case(CreateTopicsRequest)
def create_topics_configs(talk: Talk) -> None:
    """Configs, right and wrong"""
    wanted: dict[str, list[tuple[str, str | None]]] = {
        "right": [("retention.ms", "1000"), ("cleanup.policy", "compact,delete")],
        "unknown": [("no.such.config", "1")],
        "not a number": [("retention.ms", "soon")],
        "too small": [("segment.bytes", "1")],
        "negative": [("max.message.bytes", "-1")],
        "no such choice": [("cleanup.policy", "burn")],
        "no such codec": [("compression.type", "brotli")],
        "not a boolean": [("preallocate", "perhaps")],
        "null": [("retention.ms", None)],
        "empty": [("retention.ms", "")],
        "twice": [("retention.ms", "1000"), ("retention.ms", "2000")],
        "replicas 2": [("min.insync.replicas", "2")],
        "replicas 0": [("min.insync.replicas", "0")],
    }
    for label, configs in wanted.items():
        name = talk.name(label.replace(" ", "-"))
        talk.ask(create(creatable(name, configs=configs)), label=label)


@case(CreateTopicsRequest)
def create_topics_validated_only(talk: Talk) -> None:
    """A request that only asks whether it would be right"""
    name = talk.name("never")
    talk.ask(create(creatable(name, 2), validate_only=True))
    talk.ask(create(creatable(name, 0), validate_only=True))
    described(talk, name)
    exists = talk.topic("exists")
    talk.ask(create(creatable(exists), validate_only=True))


@case(DeleteTopicsRequest)
def delete_topics(talk: Talk) -> None:
    """A topic that exists, one that does not, and the first once more"""
    topic, missing = talk.topic(), talk.name()
    for label in ("first", "again"):
        talk.ask(delete(talk, topic, missing), label=label)
    described(talk, topic)


def delete(talk: Talk, *names: str, timeout_ms: int = 15_000) -> DeleteTopicsRequest:
    """Return a DeleteTopics request by name, in the form of this version."""
    if talk.version >= 6:
        states = [DeleteTopicState(name=name) for name in names]
        return DeleteTopicsRequest(topics=states, timeout_ms=timeout_ms)
    return DeleteTopicsRequest(topic_names=list(names), timeout_ms=timeout_ms)


@case(DeleteTopicsRequest)
def delete_topics_no_time(talk: Talk) -> None:
    """A time that is up at once: nothing goes"""
    topic = talk.topic()
    for timeout_ms in (-1, -1000):  # With 0 Kafka may look first, and then at the time.
        # Of a topic that is named twice Kafka says now that it is, now that the time is up.
        for names in ((topic,), (talk.name(), "a/b"), ()):
            request = delete(talk, *names, timeout_ms=timeout_ms)
            talk.ask(request, label=f"{len(names)} topics, {timeout_ms} ms")
    described(talk, topic)


@case(DeleteTopicsRequest)
def delete_topics_odd(talk: Talk) -> None:
    """A name twice, an invalid name, nothing at all"""
    topic = talk.topic()
    talk.ask(delete(talk, topic, topic), label="twice")
    described(talk, topic)
    talk.ask(delete(talk, "a/b", ""), label="invalid")
    talk.ask(delete(talk), label="nothing")


@case(DeleteTopicsRequest)
def delete_topics_and_create(talk: Talk) -> None:
    """A deleted name can be taken again at once, and is another topic"""
    name = talk.topic()
    before = topic_id(talk, name)
    talk.ask(delete(talk, name))
    talk.topic()
    described(talk, name)
    if topic_id(talk, name) == before:
        raise SetupError(f"{name} was created again with the id that it had")


@case(DeleteTopicsRequest, versions=(6, 6))
def delete_topics_by_id(talk: Talk) -> None:
    """By id: right, unknown, none, and together with a name"""
    topic, other = talk.topic(), talk.topic("other")
    known, others = topic_id(talk, topic), topic_id(talk, other)
    for label, states in {
        "name and id": [DeleteTopicState(name=topic, topic_id=known)],
        "unknown id": [DeleteTopicState(name=None, topic_id=UNKNOWN_ID)],
        "neither": [DeleteTopicState(name=None)],
        "known and unknown": [
            DeleteTopicState(name=None, topic_id=known),
            DeleteTopicState(name=None, topic_id=UNKNOWN_ID),
        ],
        "by both, apart": [
            DeleteTopicState(name=None, topic_id=others),
            DeleteTopicState(name=other),
        ],
    }.items():
        talk.ask(DeleteTopicsRequest(topics=list(states), timeout_ms=15_000), label=label)
    described(talk, topic, other)


def grow(
    *wanted: tuple[str, int],
    validate_only: bool = False,
    places: list[list[int]] | None = None,
    timeout_ms: int = 15_000,
) -> CreatePartitionsRequest:
    """Return a CreatePartitions request; places are those of every topic's new partitions."""
    spots = None if places is None else [CreatePartitionsAssignment(broker_ids=p) for p in places]
    topics = [
        CreatePartitionsTopic(name=name, count=count, assignments=spots) for name, count in wanted
    ]
    return CreatePartitionsRequest(
        topics=topics, timeout_ms=timeout_ms, validate_only=validate_only
    )


@case(CreatePartitionsRequest)
def create_partitions(talk: Talk) -> None:
    """More partitions; the same, fewer, none and negative counts are refused"""
    topic = talk.topic(partitions=2)
    talk.ask(grow((topic, 4)), label="more")
    talk.wait_for_leaders(topic, 4)
    for count in (4, 3, 0, -1):
        talk.ask(grow((topic, count)), label=f"to {count}")
    described(talk, topic)


@case(CreatePartitionsRequest)
def create_partitions_odd(talk: Talk) -> None:
    """Unknown topics, a topic twice, nothing at all"""
    topic = talk.topic()
    talk.ask(grow((talk.name(), 2)), label="unknown")
    talk.ask(grow(("a/b", 2)), label="invalid")
    talk.ask(grow((topic, 2), (topic, 3)), label="twice")
    talk.ask(grow(), label="nothing")
    described(talk, topic)


@case(CreatePartitionsRequest)
def create_partitions_no_time(talk: Talk) -> None:
    """A time that is up at once: nothing is added"""
    topic = talk.topic()
    for timeout_ms in (-1, -1000):  # With 0 Kafka may look first, and then at the time.
        odd = (talk.name(), 2)
        # Of a topic that is named twice Kafka says now that it is, now that the time is up.
        for wanted in ([(topic, 3)], [(topic, 1), odd], []):
            request = grow(*wanted, timeout_ms=timeout_ms)
            talk.ask(request, label=f"{len(wanted)} topics, {timeout_ms} ms")
    talk.ask(grow((topic, 1), validate_only=True, timeout_ms=-1), label="validated only")
    described(talk, topic)


@case(CreatePartitionsRequest)
def create_partitions_each_its_own(talk: Talk) -> None:
    """Right and wrong topics in one request: the right ones grow"""
    one, two = talk.topic("one"), talk.topic("two", partitions=3)
    talk.ask(grow((one, 2), (talk.name(), 2), (two, 2), ("__cluster_metadata", 2), ("", 2)))
    described(talk, one, two)


@case(CreatePartitionsRequest)
def create_partitions_validated_only(talk: Talk) -> None:
    """A request that only asks whether it would be right"""
    topic = talk.topic()
    for count in (3, 1):
        talk.ask(grow((topic, count), validate_only=True))
    described(talk, topic)


@case(CreatePartitionsRequest)
def create_partitions_assigned(talk: Talk) -> None:
    """New partitions placed by hand"""
    topic = talk.topic()
    wanted: dict[str, list[list[int]]] = {
        "too many": [[1], [1]],
        "too few": [],
        "no such broker": [[77]],
        "negative broker": [[-1]],
        "twice the same broker": [[1, 1]],
        "nobody": [[]],
        "right": [[1]],
    }
    for label, places in wanted.items():
        talk.ask(grow((topic, 2), places=places), label=label)


differs(
    CreateTopicsRequest,
    "topics/*/configs/min.insync.replicas/config_source",
    kafka=3,
    ours=5,
    reason="Formatting a Kafka cluster sets it for all brokers; our value is a default",
    versions=(5, 7),
)
differs(
    CreateTopicsRequest,
    "topics/*/replication_factor",
    kafka=1,
    ours=3,
    reason="As many as there are nodes, odd, up to 3",
    cases="create-topics-defaults",
    versions=(5, 7),
    among_three=True,
)
for path, kafka, ours, first in (
    ("error_code", 0, 17, 2),
    ("error_message", None, "text", 2),
    ("configs/*", "present", "absent", 5),
    ("num_partitions", 1, -1, 5),
    ("replication_factor", 1, -1, 5),
    ("topic_id", "topic_id 2", "none", 7),
):
    differs(
        CreateTopicsRequest,
        f"topics/d_e/{path}",
        kafka=kafka,
        ours=ours,
        reason="Kafka lets two names collide if one request brings both",
        cases="create-topics-colliding",
        versions=(first, 7),
    )


surprise(
    CreateTopicsRequest,
    """A configuration that is given twice is not refused: the last one counts. In
    IncrementalAlterConfigs it is refused.""",
)
surprise(
    CreateTopicsRequest,
    """2^31-1 partitions are POLICY_VIOLATION (44).""",
)
surprise(
    CreateTopicsRequest,
    """A validation-only request is answered with a topic id, of a topic that will never be.""",
)
surprise(
    CreateTopicsRequest,
    """Placed by hand, the partitions must be numbered from 0 without gaps, in any order.""",
)
surprise(
    DeleteTopicsRequest,
    """A name twice in a request is INVALID_REQUEST (42) in one single answer, and the topic
    stays.""",
)
surprise(
    DeleteTopicsRequest,
    """An invalid name is UNKNOWN_TOPIC_OR_PARTITION (3) here, and INVALID_TOPIC_EXCEPTION (17)
    elsewhere.""",
)
surprise(
    DeleteTopicsRequest,
    """The answer to a deletion by id names the topic only if it existed.""",
)
for API in (CreateTopicsRequest, DeleteTopicsRequest, CreatePartitionsRequest):
    surprise(
        API,
        """With a time-out of zero or less nothing is done, and every topic is REQUEST_TIMED_OUT
        (7) without a text; only a request of nothing but topics named twice is told so.""",
    )
surprise(
    CreatePartitionsRequest,
    """Errors of unknown topics carry no text, other errors do.""",
)
