"""The registry of a real node under many clients, large requests, thousands of topics, kill -9."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from typing import TypeVar

import pytest

from mesh.model.errors import ErrorCode
from mesh.model.types import NO_TOPIC_ID, TopicId
from mesh.wire import Message
from mesh.wire.schemas.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
)
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from mesh.wire.schemas.delete_topics import (
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
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
from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from tests.interop.differential.talk import Connection
from tests.interop.node import NODE_COUNT, MeshNode, mesh_node_process
from tests.interop.one_name import Kind, Told, UndecidedError, fits_one_order

CLIENT_COUNT, CALL_COUNT = 50, 12
TIMEOUT_MS = 15_000
JOIN_S = 90
TOPIC_COUNT = 5000 // NODE_COUNT
"""Each has a replica at every node, so that there are as many logs on this machine."""
R = TypeVar("R", bound=Message)


@pytest.fixture
def node() -> Iterator[MeshNode]:
    """A node of its own for each test."""
    with mesh_node_process() as running:
        yield running


@pytest.fixture
def connection(node: MeshNode) -> Iterator[Connection]:
    """One connection to it."""
    with contextlib.closing(Connection(node.port)) as opened:
        yield opened


def ask(connection: Connection, request: Message, version: int, kind: type[R]) -> R:
    """Return the answer of this kind."""
    answer = connection.ask(request, version)
    assert isinstance(answer, kind), answer
    return answer


def a_topic(name: str, partitions: int = 1, **configs: str) -> CreatableTopic:
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


def create(connection: Connection, *topics: CreatableTopic) -> CreateTopicsResponse:
    """Ask for topics."""
    request = CreateTopicsRequest(topics=list(topics), timeout_ms=TIMEOUT_MS)
    return ask(connection, request, 7, CreateTopicsResponse)


def delete(connection: Connection, *names: str) -> DeleteTopicsResponse:
    """Ask for topics to go."""
    states = [DeleteTopicState(name=name) for name in names]
    request = DeleteTopicsRequest(topics=states, timeout_ms=TIMEOUT_MS)
    return ask(connection, request, 6, DeleteTopicsResponse)


def described(connection: Connection, names: list[str]) -> dict[str, dict[str, str | None]]:
    """Return two configs of each topic."""
    keys = ["retention.ms", "cleanup.policy"]
    resources = [
        DescribeConfigsResource(resource_type=2, resource_name=name, configuration_keys=keys)
        for name in names
    ]
    request = DescribeConfigsRequest(resources=resources)
    results = ask(connection, request, 4, DescribeConfigsResponse).results
    return {
        each.resource_name: {item.name: item.value for item in each.configs} for each in results
    }


def look(connection: Connection, name: str) -> tuple[int, TopicId]:
    """Return code and id of a topic, once the node can say: it may be about to be made."""
    wanted = MetadataRequest(
        topics=[MetadataRequestTopic(name=name)], allow_auto_topic_creation=False
    )
    while True:
        [seen] = ask(connection, wanted, 12, MetadataResponse).topics
        if seen.error_code != ErrorCode.LEADER_NOT_AVAILABLE:
            return seen.error_code, seen.topic_id


def call(connection: Connection, name: str, rng: random.Random) -> Told:
    """Create, delete or look, and return what was told."""
    what = rng.randrange(3)
    called_at = time.monotonic_ns()
    if what == 0:
        [made] = create(connection, a_topic(name)).topics
        code, topic_id, granted = made.error_code, made.topic_id, Kind.CREATED
    elif what == 1:
        [gone] = delete(connection, name).responses
        code, topic_id, granted = gone.error_code, gone.topic_id, Kind.DELETED
    else:
        code, topic_id, granted = *look(connection, name), Kind.SEEN
    returned_at = time.monotonic_ns()
    kinds = {
        ErrorCode.NONE: granted,
        ErrorCode.TOPIC_ALREADY_EXISTS: Kind.EXISTS,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: Kind.ABSENT,
    }
    kind = kinds[ErrorCode(code)]
    assert (topic_id != NO_TOPIC_ID) == (kind is granted)
    return Told(kind, called_at, returned_at, topic_id if kind is granted else None)


def race(port: int, name: str) -> list[list[Told]]:
    """Let many clients create, delete and look at one name at a time; return what each was told."""
    histories: list[list[Told]] = [[] for _ in range(CLIENT_COUNT)]

    def run(number: int) -> None:
        rng = random.Random(number)
        with contextlib.closing(Connection(port)) as own:
            for _ in range(CALL_COUNT):
                histories[number].append(call(own, name, rng))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(CLIENT_COUNT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(JOIN_S)
    assert [len(history) for history in histories] == [CALL_COUNT] * CLIENT_COUNT
    return histories


def test_fifty_clients_race_for_one_name(node: MeshNode) -> None:
    """All their answers fit one order of creations and deletions, and nobody waits for ever."""
    fits, histories = None, race(node.port, "raced")
    for attempt in range(5):  # A history that would take for ever to decide on says nothing.
        with contextlib.suppress(UndecidedError):
            fits = fits_one_order(histories)
            break
        histories = race(node.port, f"raced-{attempt}")
    if not fits:  # Only the whole history tells why.
        for number, history in enumerate(histories):
            for told in history:
                topic = "-" if told.topic_id is None else told.topic_id.hex()[:8]
                print(number, told.kind.value, told.called_at, told.returned_at, topic)
    assert fits
    kinds = {told.kind for history in histories for told in history}
    assert {Kind.CREATED, Kind.DELETED} <= kinds


def test_thousands_in_one_request_of_which_half_are_wrong(connection: Connection) -> None:
    """Each of a thousand gets its own answer, in the order of the request, four APIs in a row."""
    names = [f"t{number}" if number % 2 else f"not good {number}" for number in range(1000)]
    good = [name for name in names if " " not in name]

    def codes(wrong: ErrorCode) -> list[int]:
        return [wrong if " " in name else 0 for name in names]

    made = create(connection, *(a_topic(name, segment_ms="60000") for name in names)).topics
    assert [each.name for each in made] == names
    assert [each.error_code for each in made] == codes(ErrorCode.INVALID_TOPIC_EXCEPTION)
    assert len({each.topic_id for each in made}) == len(good) + 1
    again = create(connection, *map(a_topic, names)).topics
    assert {each.error_code for each in again if each.name in good} == {
        ErrorCode.TOPIC_ALREADY_EXISTS
    }

    more = [CreatePartitionsTopic(name=name, count=2, assignments=None) for name in names]
    grown = ask(
        connection,
        CreatePartitionsRequest(topics=more, timeout_ms=TIMEOUT_MS),
        3,
        CreatePartitionsResponse,
    ).results
    assert [each.error_code for each in grown] == codes(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)

    change = AlterableConfig(name="segment.ms", config_operation=0, value="70000")
    resources = [
        AlterConfigsResource(resource_type=2, resource_name=name, configs=[change])
        for name in names
    ]
    altered = ask(
        connection,
        IncrementalAlterConfigsRequest(resources=resources),
        1,
        IncrementalAlterConfigsResponse,
    ).responses
    assert [each.error_code for each in altered] == codes(ErrorCode.INVALID_TOPIC_EXCEPTION)

    gone = delete(connection, *names).responses
    assert [each.error_code for each in gone] == codes(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    left = ask(connection, MetadataRequest(topics=None), 12, MetadataResponse)
    assert left.topics == []


@pytest.mark.slow
def test_five_thousand_topics_with_configs_outlive_a_kill(
    node: MeshNode, connection: Connection
) -> None:
    """Killed with -9 and started again, all are there with ids and configs, one is deleted."""
    names = [f"topic-{number}" for number in range(TOPIC_COUNT)]
    ids = {}
    for at in range(0, len(names), 250):
        topics = [
            a_topic(name, retention_ms=str(1000 + number), cleanup_policy="compact")
            for number, name in enumerate(names[at : at + 250], at)
        ]
        for made in create(connection, *topics).topics:
            assert made.error_code == 0
            ids[made.name] = made.topic_id
    [gone] = delete(connection, "topic-7").responses
    assert gone.error_code == 0
    del ids["topic-7"]
    node.kill()
    node.restart()
    with contextlib.closing(Connection(node.port)) as again:
        found = ask(again, MetadataRequest(topics=None), 12, MetadataResponse).topics
        assert {each.name: each.topic_id for each in found} == ids
        configs = described(again, list(ids))
    assert configs == {
        name: {"retention.ms": str(1000 + number), "cleanup.policy": "compact"}
        for number, name in enumerate(names)
        if name in ids
    }
