"""CreateTopics, DeleteTopics and CreatePartitions on a whole node, over the wire."""

from __future__ import annotations

import pytest

from mesh.model.errors import ErrorCode
from mesh.model.types import NO_TOPIC_ID
from mesh.registry import shard_of
from mesh.wire.schemas.create_partitions import (
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
)
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from mesh.wire.schemas.delete_topics import (
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from mesh.wire.schemas.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from tests.mesh.node.peer import Peer

TIMEOUT_MS = 1_000


def creation(*topics: CreatableTopic, validate_only: bool = False) -> CreateTopicsRequest:
    """Ask for topics."""
    return CreateTopicsRequest(
        topics=list(topics), timeout_ms=TIMEOUT_MS, validate_only=validate_only
    )


def a_topic(name: str = "orders", partitions: int = 1, **configs: str) -> CreatableTopic:
    """One topic; underscores in names of configs stand for dots."""
    return CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=-1,
        configs=[
            CreatableTopicConfig(name=key.replace("_", "."), value=value)
            for key, value in configs.items()
        ],
    )


def create(peer: Peer, *topics: CreatableTopic, **options: bool) -> list[CreatableTopicResult]:
    """Return what each topic was answered."""
    return peer.ask(creation(*topics, **options), CreateTopicsResponse).topics


def delete(peer: Peer, *states: DeleteTopicState) -> list[DeletableTopicResult]:
    """Return what each topic was answered."""
    request = DeleteTopicsRequest(topics=list(states), timeout_ms=TIMEOUT_MS)
    return peer.ask(request, DeleteTopicsResponse).responses


def test_a_topic_is_there_when_its_creation_is_answered() -> None:
    """The answer has id, counts and configs; the partitions serve, also after a crash."""
    peer = Peer()
    [made] = create(peer, a_topic(partitions=3, retention_ms=" 5 "))
    assert (made.error_code, made.error_message) == (0, None)
    assert (made.num_partitions, made.replication_factor) == (3, 1)
    assert made.topic_id != NO_TOPIC_ID
    assert made.configs is not None
    [retention] = [each for each in made.configs if each.name == "retention.ms"]
    assert (retention.value, retention.config_source) == ("5", 1)
    assert len(made.configs) == 33
    peer.disk.crash()
    again = Peer(disk=peer.disk)
    topic = again.node.broker.registry.topics["orders"]
    assert (topic.topic_id, topic.partition_count) == (made.topic_id, 3)
    assert all(again.node.broker.partition("orders", index) for index in range(3))


def test_a_creation_is_answered_only_when_it_is_on_disk() -> None:
    """Before the sync there is no answer, and a crash takes the topic away."""
    peer = Peer()
    connection = peer.connect()
    peer.send(connection, creation(a_topic()))
    assert peer.answers(connection) == []
    assert "orders" not in peer.node.broker.registry.topics


def test_validating_makes_nothing() -> None:
    """validate_only answers as if the topic were made, and it is not."""
    peer = Peer()
    [made] = create(peer, a_topic(partitions=2), validate_only=True)
    assert (made.error_code, made.num_partitions) == (0, 2)
    assert create(peer, a_topic())[0].error_code == 0


def test_every_topic_of_a_request_gets_its_own_answer() -> None:
    """Right and wrong ones side by side; one named twice is refused once."""
    peer = Peer()
    answers = create(
        peer, a_topic("a"), a_topic("bad name"), a_topic("b"), a_topic("twice"), a_topic("twice")
    )
    assert [(each.name, each.error_code) for each in answers] == [
        ("a", 0),
        ("bad name", ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("b", 0),
        ("twice", ErrorCode.INVALID_REQUEST),
    ]
    assert answers[3].error_message == "Duplicate topic name."
    assert (answers[1].num_partitions, answers[1].replication_factor) == (-1, -1)
    assert (answers[1].topic_id, answers[1].configs) == (NO_TOPIC_ID, [])


def test_a_request_for_too_many_partitions_makes_none() -> None:
    """More than 10,000 new partitions in one request: each of its topics is refused."""
    answers = create(Peer(), a_topic("a"), a_topic("b", 10_000))
    assert [each.error_code for each in answers] == [ErrorCode.POLICY_VIOLATION] * 2


def test_of_two_creates_in_one_commit_window_one_wins() -> None:
    """The first asker gets the topic; the other is told that the name is taken, but not before
    that is certain: a crash could still undo it."""
    peer = Peer()
    first, second = peer.connect(), peer.connect()
    peer.send(first, creation(a_topic()))
    peer.send(second, creation(a_topic()))
    assert peer.answers(second) == []
    peer.sync()
    [refused] = peer.answers(second)
    assert isinstance(refused, CreateTopicsResponse)
    assert refused.topics[0].error_code == ErrorCode.TOPIC_ALREADY_EXISTS
    assert refused.topics[0].error_message == "Topic 'orders' already exists."
    [made] = peer.answers(first)
    assert isinstance(made, CreateTopicsResponse)
    assert made.topics[0].error_code == 0


def test_a_slow_disk_is_told_as_a_time_out() -> None:
    """A creation that is not on disk by its deadline is answered REQUEST_TIMED_OUT."""
    peer = Peer()
    connection = peer.connect()
    peer.send(connection, creation(a_topic()))
    peer.pass_time(TIMEOUT_MS + 1)
    [late] = peer.answers(connection)
    assert isinstance(late, CreateTopicsResponse)
    assert late.topics[0].error_code == ErrorCode.REQUEST_TIMED_OUT
    assert late.topics[0].topic_id == NO_TOPIC_ID


@pytest.mark.parametrize("version", range(2, 8))
def test_every_version_of_creation_is_served(version: int) -> None:
    """From 2 to 7, with an error text and, where the version has them, counts."""
    peer = Peer()
    answer = peer.ask(creation(a_topic(), a_topic("x y")), CreateTopicsResponse, version=version)
    made, refused = answer.topics
    assert (made.error_code, refused.error_code) == (0, ErrorCode.INVALID_TOPIC_EXCEPTION)
    assert made.num_partitions == (1 if version >= 5 else -1)


@pytest.mark.parametrize("name", ["x" * 32_000, "ж" * 16_000], ids=["ascii", "wide"])
def test_a_refusal_of_the_longest_name_still_fits(name: str) -> None:
    """An error text that repeats what was sent is cut to what the oldest version can say."""
    answer = Peer().ask(creation(a_topic(name)), CreateTopicsResponse, version=2)
    assert answer.topics[0].error_code == ErrorCode.INVALID_TOPIC_EXCEPTION
    assert (answer.topics[0].error_message or "").startswith("Topic name is invalid: ")


def test_topics_go_by_name_or_by_id() -> None:
    """Both ways end a topic; the answer bears name and id."""
    peer = Peer()
    by_name, by_id = create(peer, a_topic("a"), a_topic("b"))
    states = [DeleteTopicState(name="a"), DeleteTopicState(topic_id=by_id.topic_id)]
    assert [(each.name, each.topic_id, each.error_code) for each in delete(peer, *states)] == [
        ("a", by_name.topic_id, 0),
        ("b", by_id.topic_id, 0),
    ]
    assert peer.node.broker.registry.topics == {}
    assert peer.node.broker.partitions == {}


def test_what_cannot_be_deleted_gets_kafkas_words() -> None:
    """Unknown, named twice in whichever way, and unnamed topics are refused; nothing goes."""
    peer = Peer()
    [made] = create(peer, a_topic("a"))
    name, number = DeleteTopicState(name="a"), DeleteTopicState(topic_id=made.topic_id)
    stranger = DeleteTopicState(topic_id=b"\x07" * 16)

    def answers(*states: DeleteTopicState) -> list[tuple[str | None, int, str | None]]:
        return [(each.name, each.error_code, each.error_message) for each in delete(peer, *states)]

    bad = ErrorCode.INVALID_REQUEST
    assert answers(name, name) == [("a", bad, "Duplicate topic name.")]
    assert answers(number, number) == [(None, bad, "Duplicate topic id.")]
    twice = "The provided topic name maps to an ID that was already supplied."
    assert answers(name, number) == answers(number, name) == [("a", bad, twice)]
    both = DeleteTopicState(name="a", topic_id=made.topic_id)
    text = "You may not specify both topic name and topic id."
    assert answers(both) == [("a", bad, text)]
    assert answers(DeleteTopicState()) == [(None, bad, "Neither topic name nor id were specified.")]
    assert answers(stranger) == [
        (None, ErrorCode.UNKNOWN_TOPIC_ID, "This server does not host this topic ID.")
    ]
    assert answers(DeleteTopicState(name="__registry")) == [
        (
            "__registry",
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            "This server does not host this topic-partition.",
        )
    ]
    assert "a" in peer.node.broker.registry.topics


def test_deletion_can_be_forbidden() -> None:
    """delete.topic.enable=false refuses, with the code that the client's version knows."""
    peer = Peer(config={"delete.topic.enable": "false"})
    create(peer, a_topic("a"))
    for version, code in (
        (1, ErrorCode.INVALID_REQUEST),
        (3, ErrorCode.TOPIC_DELETION_DISABLED),
        (5, ErrorCode.TOPIC_DELETION_DISABLED),
    ):
        request = DeleteTopicsRequest(topic_names=["a"], timeout_ms=TIMEOUT_MS)
        answer = peer.ask(request, DeleteTopicsResponse, version=version)
        assert [(each.name, each.error_code) for each in answer.responses] == [("a", code)]


def test_a_name_can_be_used_again_and_is_another_topic() -> None:
    """Deleted and made anew: empty, with a new id; also when both come in one window."""
    peer = Peer()
    [old] = create(peer, a_topic("a"))
    connection = peer.connect()
    peer.send(
        connection,
        DeleteTopicsRequest(topics=[DeleteTopicState(name="a")], timeout_ms=TIMEOUT_MS),
        creation(a_topic("a", 2)),
    )
    peer.sync()
    _, made = peer.answers(connection)
    assert isinstance(made, CreateTopicsResponse)
    assert made.topics[0].error_code == 0
    assert made.topics[0].topic_id not in (NO_TOPIC_ID, old.topic_id)
    assert sorted(peer.node.broker.partitions) == [("a", 0), ("a", 1)]


def grow(
    peer: Peer, *wanted: tuple[str, int, list[list[int]] | None], validate_only: bool = False
) -> list[tuple[str, int, str | None]]:
    """Ask for partitions, and return what each topic was answered."""
    topics = [
        CreatePartitionsTopic(
            name=name,
            count=count,
            assignments=None
            if nodes is None
            else [CreatePartitionsAssignment(broker_ids=each) for each in nodes],
        )
        for name, count, nodes in wanted
    ]
    request = CreatePartitionsRequest(
        topics=topics, timeout_ms=TIMEOUT_MS, validate_only=validate_only
    )
    answer = peer.ask(request, CreatePartitionsResponse)
    return [(each.name, each.error_code, each.error_message) for each in answer.results]


def test_partitions_serve_when_their_creation_is_answered() -> None:
    """More partitions by number or at chosen nodes; they are there after a restart, too."""
    peer = Peer()
    create(peer, a_topic("a"))
    assert grow(peer, ("a", 3, None), validate_only=True) == [("a", 0, None)]
    assert sorted(peer.node.broker.partitions) == [("a", 0)]
    assert grow(peer, ("a", 3, None)) == [("a", 0, None)]
    assert grow(peer, ("a", 4, [[1]])) == [("a", 0, None)]
    assert len(peer.node.broker.partitions) == 4
    peer.disk.crash()
    assert len(Peer(disk=peer.disk).node.broker.partitions) == 4


def test_partitions_that_cannot_be_added_are_told_one_by_one() -> None:
    """Unknown, doubled and shrunk topics have their own answers beside one that grows."""
    peer = Peer()
    create(peer, a_topic("a"), a_topic("b", 2), a_topic("c"))
    assert grow(peer, ("a", 2, None), ("nah", 3, None), ("b", 1, None)) == [
        ("a", 0, None),
        ("nah", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, None),
        (
            "b",
            ErrorCode.INVALID_PARTITIONS,
            "The topic b currently has 2 partition(s); 1 would not be an increase.",
        ),
    ]
    twice = [("c", ErrorCode.INVALID_REQUEST, "Duplicate topic name.")]
    assert grow(peer, ("c", 2, None), ("c", 3, None)) == twice
    answers = grow(peer, ("a", 5_002, None), ("b", 5_003, None))
    assert [code for _, code, _ in answers] == [0, ErrorCode.POLICY_VIOLATION]


@pytest.mark.parametrize("timeout_ms", [0, -1])
def test_a_request_without_time_changes_nothing(timeout_ms: int) -> None:
    """Creation, growth and deletion are answered as timed out at once, and do not happen later."""
    peer = Peer()
    create(peer, a_topic("a"))
    late = ErrorCode.REQUEST_TIMED_OUT
    creations = CreateTopicsRequest(topics=[a_topic("b"), a_topic("x y")], timeout_ms=timeout_ms)
    made = peer.ask(creations, CreateTopicsResponse)
    assert [(each.name, each.error_code) for each in made.topics] == [("b", late), ("x y", late)]
    growth = CreatePartitionsRequest(
        topics=[CreatePartitionsTopic(name="a", count=2)], timeout_ms=timeout_ms
    )
    grown = peer.ask(growth, CreatePartitionsResponse)
    assert [(each.name, each.error_code) for each in grown.results] == [("a", late)]
    deletion = DeleteTopicsRequest(topics=[DeleteTopicState(name="a")], timeout_ms=timeout_ms)
    gone = peer.ask(deletion, DeleteTopicsResponse)
    assert [(each.name, each.error_code) for each in gone.responses] == [("a", late)]
    assert sorted(peer.node.broker.partitions) == [("a", 0)]
    assert peer.node.broker.registry.tentative.topics.keys() == {"a"}


def test_made_deleted_and_made_anew_in_one_commit_window() -> None:
    """Each is answered as it was granted, though all three are committed at once."""
    peer = Peer()
    connection = peer.connect()
    deletion = DeleteTopicsRequest(topics=[DeleteTopicState(name="orders")], timeout_ms=TIMEOUT_MS)
    peer.send(
        connection,
        creation(a_topic(partitions=3, segment_ms="7")),
        deletion,
        creation(a_topic()),
    )
    assert peer.answers(connection) == []
    peer.sync()
    old, gone, new = peer.answers(connection)
    assert isinstance(old, CreateTopicsResponse)
    assert isinstance(gone, DeleteTopicsResponse)
    assert isinstance(new, CreateTopicsResponse)
    codes = [old.topics[0].error_code, gone.responses[0].error_code, new.topics[0].error_code]
    assert codes == [0, 0, 0]
    assert old.topics[0].topic_id == gone.responses[0].topic_id != new.topics[0].topic_id
    there = peer.node.broker.registry.topics["orders"]
    assert (there.topic_id, there.partition_count) == (new.topics[0].topic_id, 1)
    assert there.configs == {}
    assert peer.end_offset("orders") == 0


def test_an_answer_waits_for_the_records_that_it_rests_on() -> None:
    """What is refused, or needs no change, because of a record that is not on disk yet."""
    peer = Peer()
    create(peer, a_topic("there"))
    maker = peer.connect()
    gone = DeleteTopicsRequest(topics=[DeleteTopicState(name="there")], timeout_ms=TIMEOUT_MS)
    peer.send(maker, creation(a_topic(segment_ms="7")), gone)
    more = CreatePartitionsTopic(name="orders", count=1, assignments=None)
    change = AlterableConfig(name="segment.ms", config_operation=0, value="7")
    resource = AlterConfigsResource(resource_type=2, resource_name="orders", configs=[change])
    id_gone = peer.node.broker.registry.topics["there"].topic_id
    by_id = DeleteTopicState(name=None, topic_id=id_gone)
    askers = [
        creation(a_topic(), validate_only=True),
        gone,
        DeleteTopicsRequest(topics=[by_id], timeout_ms=TIMEOUT_MS),
        CreatePartitionsRequest(topics=[more], timeout_ms=TIMEOUT_MS),
        IncrementalAlterConfigsRequest(resources=[resource]),
    ]
    connections = [peer.connect() for _ in askers]
    for connection, request in zip(connections, askers, strict=True):
        peer.send(connection, request)
    assert [peer.answers(connection) for connection in connections] == [[]] * len(askers)
    peer.sync()
    assert [len(peer.answers(connection)) for connection in connections] == [1] * len(askers)


def test_a_refusal_that_is_not_certain_by_its_deadline_is_a_time_out() -> None:
    """Nobody can say yet whether the name is taken."""
    peer = Peer()
    first, second = peer.connect(), peer.connect()
    peer.send(first, creation(a_topic()))
    peer.send(second, creation(a_topic()))
    peer.pass_time(TIMEOUT_MS + 1)
    [late] = peer.answers(second)
    assert isinstance(late, CreateTopicsResponse)
    assert late.topics[0].error_code == ErrorCode.REQUEST_TIMED_OUT


def test_a_thousand_partitions_cost_the_disk_one_record() -> None:
    """Directories come with the first append; creating costs the record and the elections."""
    peer = Peer()
    peer.disk.crash_after = 1_000  # Each change of the disk takes one from it.
    [made] = create(peer, a_topic(partitions=1_000))
    assert made.error_code == 0
    assert peer.disk.crash_after > 970


def test_a_change_is_answered_once_it_can_be_seen() -> None:
    """What is committed waits while a thread works in directories, and its answer with it.

    Whatever else comes to be led meanwhile asks after the answers that wait for that shard.
    """
    peer = Peer()
    create(peer, a_topic())
    connection, broker = peer.connect(), peer.node.broker
    shard = broker.shards[shard_of("orders")]
    peer.node._works_in_logs += 1
    request = DeleteTopicsRequest(topics=[DeleteTopicState(name="orders")], timeout_ms=TIMEOUT_MS)
    peer.send(connection, request)
    peer.sync()
    assert broker.registry.replayed_ends[shard.index] < shard.high_watermark
    broker.poll(shard, peer.now)
    peer.carry_out(peer.node.woken(peer.now))
    assert peer.answers(connection) == []
    assert "orders" in broker.registry.topics
    peer.node._works_in_logs -= 1
    peer.carry_out(peer.node.woken(peer.now))
    [answer] = peer.answers(connection)
    assert isinstance(answer, DeleteTopicsResponse)
    assert answer.responses[0].error_code == 0
    assert "orders" not in broker.registry.topics
