"""Plans: what a request may ask for, and the words with which Kafka 4.3.1 refuses the rest."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from mesh.model.config import BrokerConfig
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import ReplicaId
from mesh.registry import (
    Operation,
    Plan,
    Rng,
    plan_alter_broker_config,
    plan_alter_topic_config,
    plan_create_partitions,
    shard_of,
)
from tests.mesh.registry.builders import Mesh

NO_BROKER = "The manual partition assignment includes broker 9, but no such broker is registered."


def refused(code: ErrorCode, text: str | None, ask: Callable[[], object]) -> None:
    """Assert that asking gives this code and this text."""
    with pytest.raises(KafkaError) as caught:
        ask()
    assert (caught.value.code, caught.value.message) == (code, text)


@pytest.mark.parametrize(
    ("wanted", "code", "text"),
    [
        (
            {"partition_count": 0},
            ErrorCode.INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            {"partition_count": -2},
            ErrorCode.INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            {"replication_factor": 0},
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (
            {"replication_factor": 2},
            ErrorCode.INVALID_REPLICATION_FACTOR,
            (
                "Unable to replicate the partition 2 time(s): The target replication factor of 2 "
                "cannot be reached because only 1 broker(s) are registered or some brokers have "
                "all their log directories cordoned."
            ),
        ),
        (
            {"assignments": [(0, [1])]},
            ErrorCode.INVALID_REQUEST,
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        ),
        (
            {"assignments": [(0, [1])], "partition_count": -1, "replication_factor": 1},
            ErrorCode.INVALID_REQUEST,
            (
                "A manual partition assignment was specified, but replication factor was not set "
                "to -1."
            ),
        ),
        (
            {"assignments": [(0, [])], "partition_count": -1},
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes an empty replica list.",
        ),
        (
            {"assignments": [(0, [1]), (2, [1])], "partition_count": -1},
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "partitions should be a consecutive 0-based integer sequence",
        ),
        (
            {"assignments": [(0, [1]), (0, [1])], "partition_count": -1},
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "Found multiple manual partition assignments for partition 0",
        ),
        (
            {"assignments": [(0, [1, 1])], "partition_count": -1},
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        (
            {"assignments": [(0, [9])], "partition_count": -1},
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            NO_BROKER,
        ),
        (
            {"configs": [("nope", "1")], "partition_count": 0},
            ErrorCode.INVALID_CONFIG,
            "Unknown topic config name: nope",
        ),
        (
            {"configs": [("retention.ms", None)]},
            ErrorCode.INVALID_CONFIG,
            "Null value not supported for topic configs: retention.ms",
        ),
        (
            {"configs": [("segment.bytes", "5")]},
            ErrorCode.INVALID_CONFIG,
            "Invalid value 5 for configuration segment.bytes: Value must be at least 1048576",
        ),
    ],
)
def test_a_topic_that_cannot_be_made_gets_kafkas_words(
    wanted: dict[str, object], code: ErrorCode, text: str
) -> None:
    """Code and text are those that the JVM broker gives for the same request."""
    mesh = Mesh()
    refused(code, text, lambda: mesh.plan("orders", **wanted))


def test_names_that_are_taken_or_not_for_clients_are_refused() -> None:
    """An existing, a colliding and a hidden name each get Kafka's answer."""
    mesh = Mesh()
    mesh.create("a.b")
    exists, collides = (
        "Topic 'a.b' already exists.",
        "Topic 'a_b' collides with existing topic: a.b",
    )
    hidden = "Creation of internal topic __registry is prohibited."
    refused(ErrorCode.TOPIC_ALREADY_EXISTS, exists, lambda: mesh.plan("a.b"))
    refused(ErrorCode.INVALID_TOPIC_EXCEPTION, collides, lambda: mesh.plan("a_b"))
    refused(ErrorCode.INVALID_REQUEST, hidden, lambda: mesh.plan("__registry"))


@pytest.mark.parametrize(
    ("nodes", "factor", "voters"),
    [(1, 1, 1), (2, 2, 1), (3, 3, 3), (4, 3, 3), (5, 3, 3), (6, 3, 3)],
)
def test_by_default_there_are_up_to_three_replicas_and_an_odd_number_votes(
    nodes: int, factor: int, voters: int
) -> None:
    """As many as there are, up to 3, on distinct nodes; of two one votes and one learns."""
    topic = Mesh(nodes).plan("orders", partition_count=7).topic
    assert topic is not None
    assert topic.replicas_wanted == 3
    assert [len(set(replicas)) for replicas in topic.replicas] == [factor] * 7
    for index, replicas in enumerate(topic.replicas):
        first = replicas[:voters]
        assert topic.voters(index) == tuple(ReplicaId(node, f"d{node}") for node in first)
    leaders = [replicas[0] for replicas in topic.replicas]
    assert max(map(leaders.count, leaders)) <= -(-7 // nodes)


def test_what_is_not_given_comes_from_the_node() -> None:
    """-1 partitions are num.partitions, and a value is stored as Kafka would show it."""
    mesh = Mesh()
    mesh.config = BrokerConfig.from_mapping({"num.partitions": "4"})
    configs = [("retention.ms", "1"), ("retention.ms", " +5 "), ("preallocate", "TRUE")]
    topic = mesh.plan("orders", partition_count=-1, configs=configs).topic
    assert topic is not None
    assert topic.partition_count == 4
    assert topic.configs == {"retention.ms": "5", "preallocate": "true"}


@pytest.mark.parametrize(("factor", "voters"), [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5)])
def test_of_an_explicit_factor_the_largest_odd_number_votes(factor: int, voters: int) -> None:
    """Whether the nodes were chosen or not; and so many replicas are wanted, no more."""
    mesh, chosen = Mesh(5), [(0, list(range(5, 5 - factor, -1)))]
    spread = mesh.plan("spread", replication_factor=factor).topic
    picked = mesh.plan("picked", partition_count=-1, assignments=chosen).topic
    for topic in (spread, picked):
        assert topic is not None
        assert (topic.replication_factor, topic.replicas_wanted) == (factor, factor)
        assert [voter.node_id for voter in topic.voters(0)] == list(topic.replicas[0][:voters])


def test_partitions_that_are_added_get_what_the_mesh_has_grown_to() -> None:
    """A topic made by default in a mesh of one gets three replicas for what is added later."""
    mesh = Mesh(1)
    mesh.create("orders")
    mesh.registry.members = {1: "d1", 2: "d2", 3: "d3"}
    mesh.propose(plan_create_partitions(mesh.registry, "orders", 2, None))
    mesh.commit()
    topic = mesh.registry.topics["orders"]
    assert [len(replicas) for replicas in topic.replicas] == [1, 3]
    assert [len(topic.voters(index)) for index in range(2)] == [1, 3]
    assert topic.voters(0) == (ReplicaId(1, "d1"),)


class Dice:
    """Gives the numbers it was told, one after the other."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)

    def getrandbits(self, k: int, /) -> int:
        return self.numbers.pop(0)


def test_topic_ids_that_would_confuse_are_not_used() -> None:
    """A reserved id, one that prints with a leading dash, and a taken one are drawn again."""
    mesh = Mesh()
    taken = mesh.create("old").topic
    assert taken is not None
    dash, good = 0xF8 << 120, 0xFC << 120
    dice: Rng = Dice(0, 1, 100, dash, int.from_bytes(taken.topic_id), good)
    mesh.registry.rng = dice
    assert base64.urlsafe_b64encode(dash.to_bytes(16)).startswith(b"-")
    topic = mesh.plan("new").topic
    assert topic is not None
    assert topic.topic_id == good.to_bytes(16)


@pytest.mark.parametrize(
    ("count", "assignments", "code", "text"),
    [
        (2, None, ErrorCode.INVALID_PARTITIONS, "Topic already has 2 partition(s)."),
        (
            1,
            None,
            ErrorCode.INVALID_PARTITIONS,
            "The topic orders currently has 2 partition(s); 1 would not be an increase.",
        ),
        (
            6,
            [[1]],
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "Attempted to add 4 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (3, [[9]], ErrorCode.INVALID_REPLICA_ASSIGNMENT, NO_BROKER),
        (
            3,
            [[1, 2]],
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            (
                "The manual partition assignment includes a partition with 2 replica(s), but this "
                "is not consistent with previous partitions, which have 1 replica(s)."
            ),
        ),
        (
            2**31 - 1,
            None,
            ErrorCode.POLICY_VIOLATION,
            "Excessively large number of partitions per request.",
        ),
    ],
)
def test_partitions_that_cannot_be_added_get_kafkas_words(
    count: int, assignments: list[list[int]] | None, code: ErrorCode, text: str
) -> None:
    """Fewer, as many, too many, or at nodes that are not there: each has its own answer."""
    mesh = Mesh(nodes=2)
    mesh.create("orders", partition_count=2, replication_factor=1)
    ask = lambda: plan_create_partitions(mesh.registry, "orders", count, assignments)  # noqa: E731
    refused(code, text, ask)


def alter(mesh: Mesh, *operations: tuple[str, int, str | None]) -> Plan:
    """Plan changes of the topic `orders`."""
    return plan_alter_topic_config(mesh.registry, "orders", operations, mesh.config)


def test_lists_grow_and_shrink_and_nothing_else_does() -> None:
    """APPEND adds what is not there, SUBTRACT takes away; a number refuses both."""
    mesh = Mesh()
    mesh.create("orders")

    def after(what: Operation, value: str) -> str | None:
        mesh.propose(alter(mesh, ("cleanup.policy", what, value)))
        mesh.commit()
        return mesh.registry.topics["orders"].configs.get("cleanup.policy")

    assert after(Operation.APPEND, "compact") == "delete,compact"
    assert after(Operation.SUBTRACT, "delete") == "compact"
    assert after(Operation.SUBTRACT, "compact") == ""
    text = "Can't APPEND to key segment.ms because its type is not LIST."
    ask = lambda: alter(mesh, ("segment.ms", Operation.APPEND, "4"))  # noqa: E731
    refused(ErrorCode.INVALID_CONFIG, text, ask)


@pytest.mark.parametrize(
    ("operations", "code", "text"),
    [
        (
            [("segment.ms", 0, "4"), ("segment.ms", 1, None)],
            ErrorCode.INVALID_REQUEST,
            "Error due to duplicate config keys",
        ),
        (
            [("segment.ms", 0, None)],
            ErrorCode.INVALID_REQUEST,
            "Null value not supported for : segment.ms",
        ),
        ([("nope", 0, "5")], ErrorCode.INVALID_CONFIG, "Unknown topic config name: nope"),
        (
            [("segment.ms", 0, "x")],
            ErrorCode.INVALID_CONFIG,
            "Invalid value x for configuration segment.ms: Not a number of type LONG",
        ),
        (
            [("segment.ms", 9, "4")],
            ErrorCode.INVALID_REQUEST,
            "Unknown operation 9 for segment.ms.",
        ),
    ],
)
def test_a_change_that_cannot_be_made_gets_kafkas_words(
    operations: list[tuple[str, int, str | None]], code: ErrorCode, text: str
) -> None:
    """Code and text are those that the JVM broker gives for the same request."""
    mesh = Mesh()
    mesh.create("orders")
    refused(code, text, lambda: alter(mesh, *operations))


def test_a_change_that_changes_nothing_writes_nothing() -> None:
    """Deleting what is not set, or setting what is, leaves the log alone."""
    mesh = Mesh()
    mesh.create("orders", configs=[("segment.ms", "4")])
    deletions = (("retention.ms", 1, None), ("nope", 1, None))
    assert alter(mesh, *deletions, ("segment.ms", 0, "4")).records == []
    assert alter(mesh).records == []


def test_only_dynamic_settings_of_brokers_are_changed() -> None:
    """A static, an unknown and a bad value are refused; deleting any is harmless."""
    mesh = Mesh()

    def ask(name: str, what: int, value: str | None) -> Plan:
        return plan_alter_broker_config(mesh.registry, "", [(name, what, value)], mesh.config)

    fixed = "Cannot update these configs dynamically: [num.partitions]"
    refused(ErrorCode.INVALID_REQUEST, fixed, lambda: ask("num.partitions", 0, "2"))
    refused(ErrorCode.INVALID_CONFIG, "Unknown broker config name: x", lambda: ask("x", 0, "2"))
    bad = "Invalid value x for configuration message.max.bytes: Not a number of type INT"
    refused(ErrorCode.INVALID_REQUEST, bad, lambda: ask("message.max.bytes", 0, "x"))
    assert ask("num.partitions", 1, None).records == []
    assert ask("message.max.bytes", 0, "7").shard == 0
    assert ask("log.cleanup.policy", Operation.APPEND, "compact").records != []


def test_shards_of_names_never_change() -> None:
    """Names stay where their records are: these places are part of the disk format."""
    names = ("orders", "a.b", "a_b", "flights", "x")
    assert [shard_of(name) for name in names] == [3, 5, 5, 1, 1]


def test_long_lists_take_no_longer_than_they_are() -> None:
    """A client may name a hundred thousand replicas or items; squared, that would be minutes."""
    mesh, count = Mesh(), 100_000
    assignments = [(0, [1] * count)]
    repeated = "The manual partition assignment includes the broker 1 more than once."
    ask = lambda: mesh.plan("many", partition_count=-1, assignments=assignments)  # noqa: E731
    refused(ErrorCode.INVALID_REPLICA_ASSIGNMENT, repeated, ask)
    mesh.create("orders")
    throttled = "leader.replication.throttled.replicas"
    some = ",".join(f"{number}:1" for number in range(400))
    mesh.propose(alter(mesh, (throttled, Operation.SET, some)))
    mesh.commit()
    many = ",".join(f"{number}:1" for number in range(count))
    emptied = alter(mesh, (throttled, Operation.SUBTRACT, many))
    assert len(emptied.records) == 1
    with pytest.raises(KafkaError, match="Value must not be longer than"):
        alter(mesh, (throttled, Operation.APPEND, many))
