"""The registry over crashes: what was answered is there, in its order, and no id comes twice."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

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
from mesh.wire.schemas.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from mesh.wire.schemas.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from mesh.wire.schemas.produce import ProduceResponse
from simulations.disk import SimulatedCrash, SimulatedDisk
from tests.mesh.node.peer import Peer, a_produce

TIMEOUT_MS = 60_000
NODE = ""
"""In place of a topic's name: what is set for all nodes."""
NAMES = ("a", "b.c", "d", NODE)


@dataclass(frozen=True)
class State:
    """What a name stands for; without an id there is no such topic."""

    topic_id: TopicId = NO_TOPIC_ID
    partition_count: int = 0
    configs: tuple[tuple[str, str], ...] = ()


def answers_of(answer: Message) -> list[int]:
    """Error codes of an answer, one per thing that was asked for."""
    match answer:
        case CreateTopicsResponse():
            return [each.error_code for each in answer.topics]
        case DeleteTopicsResponse() | IncrementalAlterConfigsResponse():
            return [each.error_code for each in answer.responses]
        case CreatePartitionsResponse():
            return [each.error_code for each in answer.results]
        case _:
            raise AssertionError(answer)


@dataclass
class Story:
    """A node that crashes again and again, and what its one client knows."""

    rng: random.Random
    disk: SimulatedDisk
    start_count: int = 0
    states: dict[str, list[State]] = field(
        default_factory=lambda: {name: [State()] for name in NAMES}
    )
    """Of each name, after each change; the first one is certain: it was answered, or found."""
    asked: list[tuple[str, int]] = field(default_factory=list)
    """Name and place in `states` of each change that was not answered yet."""
    topic_ids: set[TopicId] = field(default_factory=set)
    producer_ids: list[int] = field(default_factory=list)
    answered_count: int = 0

    def start(self) -> None:
        """Start, or crash while starting; then what is there must be what was answered."""
        self.start_count += 1
        self.peer = Peer(disk=self.disk, seed=self.start_count)
        self.connection = self.peer.connect()
        self.asked.clear()
        for name, states in self.states.items():
            found = self.found(name)
            assert found in states, f"{name or 'nodes'}: {found} is none of {states}"
            # The last one alike: were it an earlier one, a later start could not tell.
            self.states[name] = [found]
            if found.topic_id != NO_TOPIC_ID:
                values = self.peer.fetch_values(name)
                assert set(values) <= {found.topic_id}, f"{name} holds records of another topic"

    def found(self, name: str) -> State:
        registry = self.peer.node.broker.registry
        if name == NODE:
            return State(configs=tuple(sorted(registry.broker_configs.get(NODE, {}).items())))
        if (topic := registry.topics.get(name)) is None:
            return State()
        configs = tuple(sorted(topic.configs.items()))
        return State(topic.topic_id, topic.partition_count, configs)

    def step(self) -> None:
        """Ask for something, or let a sync round go through, and read what is answered."""
        match self.rng.randrange(8):
            case 0 | 1:
                if self.peer.rounds:
                    self.peer.sync_once()
            case 2:
                self.take_producer_id()
            case 3:
                self.produce(self.rng.choice(NAMES[:3]))
            case _:
                self.change(self.rng.choice(NAMES))
        self.read()

    def read(self) -> None:
        for answer in self.peer.answers(self.connection):
            assert answers_of(answer) == [0]
            name, place = self.asked.pop(0)
            # What was answered cannot be taken back: nothing before it may be found again.
            states = self.states[name]
            self.states[name] = states[place:]
            self.asked = [(n, at - place if n == name else at) for n, at in self.asked]
            self.answered_count += 1

    def change(self, name: str) -> None:
        """Change what a name stands for, in a way that fits what was asked for before."""
        now = self.states[name][-1]
        setting, value = self.rng.choice(("1", "2", "3")), str(self.rng.randint(10, 99))
        if name == NODE:
            request, after = self.alter(4, NODE, "message.max.bytes", setting + value, now)
        elif now.topic_id == NO_TOPIC_ID:
            configs = [CreatableTopicConfig(name="segment.ms", value=value)]
            topic = CreatableTopic(
                name=name, num_partitions=1, replication_factor=-1, configs=configs
            )
            request = CreateTopicsRequest(topics=[topic], timeout_ms=TIMEOUT_MS)
            after = State(NO_TOPIC_ID, 1, (("segment.ms", value),))
        elif (dice := self.rng.random()) < 0.3:
            state = DeleteTopicState(name=name)
            request = DeleteTopicsRequest(topics=[state], timeout_ms=TIMEOUT_MS)
            after = State()
        elif dice < 0.5:
            count = now.partition_count + 1
            more = CreatePartitionsTopic(name=name, count=count, assignments=None)
            request = CreatePartitionsRequest(topics=[more], timeout_ms=TIMEOUT_MS)
            after = State(now.topic_id, count, now.configs)
        else:
            request, after = self.alter(2, name, "segment.ms", value, now)
        self.peer.send(self.connection, request)
        if isinstance(request, CreateTopicsRequest):
            made = self.peer.node.broker.registry.tentative.topics[name]
            assert made.topic_id not in self.topic_ids
            self.topic_ids.add(made.topic_id)
            after = State(made.topic_id, after.partition_count, after.configs)
        self.states[name].append(after)
        self.asked.append((name, len(self.states[name]) - 1))

    def alter(
        self, kind: int, name: str, key: str, value: str, now: State
    ) -> tuple[Message, State]:
        change = AlterableConfig(name=key, config_operation=0, value=value)
        resource = AlterConfigsResource(resource_type=kind, resource_name=name, configs=[change])
        configs = tuple(sorted({**dict(now.configs), key: value}.items()))
        after = State(now.topic_id, now.partition_count, configs)
        return IncrementalAlterConfigsRequest(resources=[resource]), after

    def take_producer_id(self) -> None:
        """Take one, or only ask: what is answered before a sync must outlive any crash, too."""
        connection = self.peer.connect()
        self.peer.send(connection, InitProducerIdRequest(transactional_id=None))
        if self.rng.random() < 0.5:
            self.peer.sync()
        for answer in self.peer.answers(connection):
            assert isinstance(answer, InitProducerIdResponse)
            assert answer.error_code == 0
            self.producer_ids.append(answer.producer_id)

    def produce(self, name: str) -> None:
        """Put the id of the topic into it."""
        topic = self.peer.node.broker.registry.topics.get(name)
        if topic is not None:
            answer = self.peer.ask(a_produce(name, topic.topic_id), ProduceResponse, version=9)
            code = answer.responses[0].partition_responses[0].error_code
            # It may have no leader yet, or have been deleted before or while this waited.
            assert code in (
                0,
                ErrorCode.NOT_LEADER_OR_FOLLOWER,
                ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
                ErrorCode.REQUEST_TIMED_OUT,
            )


@pytest.mark.parametrize("seed", range(25))
def test_what_was_answered_outlives_any_crash_in_its_order(seed: int) -> None:
    """Topics and configs are as after some change, and not as before the last that was answered.

    A topic that was deleted and made anew has another id and none of the old one's records; no
    producer id comes twice. The crash comes at any step of the disk, also while starting.
    """
    rng = random.Random(seed)
    story = Story(rng, SimulatedDisk(seed))
    for _ in range(6):
        try:
            story.disk.crash_after = rng.choice((None, None, rng.randrange(80)))
            story.start()
            story.disk.crash_after = rng.randrange(400)
            while True:
                story.step()
        except SimulatedCrash:
            rng.choice((story.disk.crash, story.disk.kill))()
    story.disk.crash_after = None
    story.start()
    assert len(set(story.producer_ids)) == len(story.producer_ids) > 0
    assert story.answered_count > 0


@pytest.mark.parametrize("seed", range(10))
def test_no_producer_id_leaves_before_its_block_is_on_the_disk(seed: int) -> None:
    """A crash may take a claim, and the next start's gets its place: nobody must have its ids."""
    request = InitProducerIdRequest(transactional_id=None)
    disk, given = SimulatedDisk(seed), set[int]()
    for start in range(4):
        peer = Peer(disk=disk, seed=start)
        connections = [peer.connect() for _ in range(3)]
        for connection in connections:  # The later ones find a block that is not committed.
            peer.send(connection, request)
        answers = [answer for each in connections for answer in peer.answers(each)]
        if start % 2:
            peer.sync()
        answers += [answer for each in connections for answer in peer.answers(each)]
        for answer in answers:
            assert isinstance(answer, InitProducerIdResponse)
            assert answer.producer_id not in given
            given.add(answer.producer_id)
        disk.crash()
    assert len(given) == 6
