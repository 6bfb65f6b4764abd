"""Plays the driver of a coordinator for groups by KIP-848: topics, turns, time, and the log."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mesh.groups import Ask, Coordinator, Image, OnTimer, Topic, Turn, Wheel, decode_untrusted
from mesh.groups.records import Record
from mesh.model.config import BrokerConfig
from mesh.model.types import Now, TopicId
from mesh.wire import Struct
from mesh.wire.schemas.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    TopicPartitions,
)

GROUP = "readers"
WALL_MS = 1_700_000_000_000


@dataclass(slots=True)
class FakeTopic:
    """A topic of the mesh."""

    name: str
    topic_id: TopicId
    partition_count: int
    racks: list[frozenset[str]] = field(default_factory=list)


class FakeTopics:
    """The topics of a mesh that is not there."""

    def __init__(self, rng: random.Random) -> None:
        """Without any."""
        self.version = 0
        self.by_name: dict[str, FakeTopic] = {}
        self.deleted: set[TopicId] = set()
        self._rng = rng

    def add(self, name: str, partitions: int, topic_id: TopicId | None = None) -> FakeTopic:
        """Make a topic, or make it larger."""
        self.version += 1
        topic = self.by_name.get(name)
        if topic is None:
            topic_id = self._rng.randbytes(16) if topic_id is None else topic_id
            topic = self.by_name[name] = FakeTopic(name, topic_id, partitions)
        topic.partition_count = partitions
        return topic

    def drop(self, name: str) -> None:
        """Delete a topic."""
        self.version += 1
        self.deleted.add(self.by_name.pop(name).topic_id)

    def named(self, name: str) -> FakeTopic | None:
        """See Topics."""
        return self.by_name.get(name)

    def with_id(self, topic_id: TopicId) -> FakeTopic | None:
        """See Topics."""
        return next((one for one in self.by_name.values() if one.topic_id == topic_id), None)

    def is_deleted(self, topic_id: TopicId) -> bool:
        """See Topics."""
        return topic_id in self.deleted

    def is_current(self) -> bool:
        """See Topics."""
        return True

    def names(self) -> Iterable[str]:
        """See Topics."""
        return self.by_name

    def racks(self, topic: Topic) -> list[frozenset[str]]:
        """See Topics."""
        assert isinstance(topic, FakeTopic)
        return topic.racks or [frozenset()] * topic.partition_count


class Driver:
    """One coordinator, its clock, its log, and all that it answered."""

    def __init__(self, seed: int = 1, *, replays: bool = True, **config: object) -> None:
        """Begin with an empty log.

        Args:
            seed: of the dice.
            replays: whether the whole log is replayed after each turn, and compared.
            config: fields of BrokerConfig; unless named, targets are computed at once.
        """
        self._replays = replays
        fields = {"consumer_assignment_ms": 0, "group_initial_delay_ms": 0, **config}
        self.config = BrokerConfig(**fields)  # type: ignore[arg-type]
        self.rng = random.Random(seed)
        self.topics = FakeTopics(self.rng)
        self.now_ms = 1_000
        self.wall_ms = WALL_MS
        self.log: list[Record] = []
        self.late: dict[Ask, Struct] = {}
        """All answers so far; those of classic members may come in a later turn."""
        self.start()

    def start(self) -> None:
        """Begin to lead: a new coordinator replays the log."""
        self.wheel: Wheel[tuple[Coordinator, OnTimer]] = Wheel()
        self.coordinator = Coordinator(self.wheel)
        for record in self.log:
            replay(self.coordinator.image, record)
        self.groups = self.coordinator.consumer
        self.turn(self.coordinator.begin)

    def turn(self, call: Callable[[Turn], None]) -> Turn:
        """Give one event to the machine, and check that its records say all that it knows."""
        now = Now(self.now_ms, self.wall_ms + self.now_ms)
        turn = Turn(now, self.config, self.topics, self.rng, self.coordinator.image)
        call(turn)
        self.log += turn.records
        self.late.update((reply.ask, reply.response) for reply in turn.replies)
        if turn.records and self._replays:
            replayed = Image()
            for record in self.log:
                replay(replayed, record)
            assert replayed.state() == self.coordinator.image.state()
        return turn

    def sleep(self, for_ms: int) -> None:
        """Let time pass; what is due on the way happens in its own time."""
        end_ms = self.now_ms + for_ms
        while (next_ms := self.wheel.next_ms) is not None and next_ms <= end_ms:
            self.now_ms = max(self.now_ms, next_ms)
            for _, call in self.wheel.due(self.now_ms):
                self.turn(call)
        self.now_ms = end_ms

    def ask(
        self,
        body: Struct,
        version: int,
        call: Callable[[Ask, Turn], None],
        client_id: str = "app",
        client_host: str = "/127.0.0.1",
    ) -> Struct:
        """Put a request to the machine, which answers in the same turn."""
        ask = Ask(body, version, client_id, client_host)
        self.turn(lambda turn: call(ask, turn))
        return self.late[ask]

    def beat(
        self, body: ConsumerGroupHeartbeatRequest, version: int = 1
    ) -> ConsumerGroupHeartbeatResponse:
        """Put a heartbeat to the machine."""
        answer = self.ask(body, version, self.groups.heartbeat)
        assert isinstance(answer, ConsumerGroupHeartbeatResponse)
        return answer


def replay(image: Image, record: Record) -> None:
    """Apply a record as it stands in the log."""
    read = decode_untrusted(record.key, record.value)
    assert read is not None
    image.replay(*read)


@dataclass(slots=True)
class Client:
    """A member as Kafka's Java client plays it: takes, gives up, says what it has."""

    driver: Driver
    member_id: str
    names: list[str] | None = None
    regex: str | None = None
    instance_id: str | None = None
    assignor: str | None = None
    group_id: str = GROUP
    epoch: int = 0
    assignment: dict[TopicId, frozenset[int]] = field(default_factory=dict)
    """As it was told last."""
    owned: dict[TopicId, frozenset[int]] = field(default_factory=dict)
    """What it reads: what it was told, once it has given up what it was not."""
    error: int = 0

    def beat(self, *, say: bool = True) -> ConsumerGroupHeartbeatResponse:
        """Send a heartbeat and follow the answer.

        Args:
            say: whether it says what it owns.
        """
        joins = self.epoch == 0
        partitions = [
            TopicPartitions(topic_id=topic_id, partitions=sorted(owned))
            for topic_id, owned in self.owned.items()
        ]
        answer = self.driver.beat(
            ConsumerGroupHeartbeatRequest(
                group_id=self.group_id,
                member_id=self.member_id,
                member_epoch=self.epoch,
                instance_id=self.instance_id,
                rebalance_timeout_ms=60_000 if joins else -1,
                subscribed_topic_names=self.names if joins else None,
                subscribed_topic_regex=self.regex if joins else None,
                server_assignor=self.assignor if joins else None,
                topic_partitions=partitions if say else None,
            )
        )
        self.error = answer.error_code
        if self.error:
            self.epoch, self.owned, self.assignment = 0, {}, {}
            return answer
        self.epoch = answer.member_epoch
        if answer.assignment is not None:
            self.assignment = {
                topic.topic_id: frozenset(topic.partitions)
                for topic in answer.assignment.topic_partitions
            }
            self.owned = dict(self.assignment)
        return answer

    def leave(self, epoch: int = -1) -> ConsumerGroupHeartbeatResponse:
        """Send the last heartbeat."""
        answer = self.driver.beat(
            ConsumerGroupHeartbeatRequest(
                group_id=self.group_id,
                member_id=self.member_id,
                member_epoch=epoch,
                instance_id=self.instance_id,
            )
        )
        self.epoch, self.owned, self.assignment = 0, {}, {}
        return answer


def settle(clients: Iterable[Client], rounds: int = 12) -> None:
    """Let all members send heartbeats, in turn, until nothing changes any more."""
    for _ in range(rounds):
        for client in clients:
            client.beat()
        next(iter(clients)).driver.sleep(100)
