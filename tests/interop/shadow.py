"""Kafka's groups by KIP-848 and ours, side by side: the same heartbeats, answer by answer.

Kafka's broker is asked over the wire; ours is the bare machine, told of the same topics by the
same ids. So what may differ by chance (ids of members and topics, and with them every order that
follows from a hash) is the same for both, and all that is left must be equal: each answer, and
each member's target in ConsumerGroupDescribe, partition by partition.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from mesh.broker.coordinators import partition_of
from mesh.model.errors import ErrorCode
from mesh.model.types import TopicId
from mesh.wire.schemas.consumer_group_describe import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    DescribedGroup,
)
from mesh.wire.schemas.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    TopicPartitions,
)
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from mesh.wire.schemas.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from tests.interop.differential.talk import CLIENT_ID, Connection, SetupError
from tests.mesh.groups.consumer_driver import Driver

WAIT_S = 30
OFFSETS_PARTITIONS = 3
"""As jvm.py configures Kafka's broker."""
NAMES = [f"shadow-{index}" for index in range(7)]
PARTITIONS = (1, 2, 3, 5, 7, 12, 40)
REBALANCE_MS = 300_000
_NOT_YET = (
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.NOT_COORDINATOR,
)


def make_topics(connection: Connection) -> dict[str, tuple[TopicId, int]]:
    """Make the topics of all cases, unless they are there; return their ids and sizes."""
    wanted = [
        CreatableTopic(name=name, num_partitions=count, replication_factor=1)
        for name, count in zip(NAMES, PARTITIONS, strict=True)
    ]
    answer = connection.ask(CreateTopicsRequest(topics=wanted, timeout_ms=15_000), 5)
    assert isinstance(answer, CreateTopicsResponse), answer
    asked = [MetadataRequestTopic(name=name) for name in NAMES]
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        told = connection.ask(MetadataRequest(topics=asked), 12)
        assert isinstance(told, MetadataResponse), told
        if not any(topic.error_code for topic in told.topics):
            return {
                topic.name or "": (topic.topic_id, len(topic.partitions)) for topic in told.topics
            }
    raise SetupError("no topics")


def await_coordinators(connection: Connection) -> None:
    """Return once groups can be coordinated, and every coordinator has heard of the topics.

    Each partition of Kafka's offsets follows the topics in its own time, which may take seconds.
    """
    waiting: dict[int, str] = {}
    for number in range(1_000):
        group_id = f"await-{number}-{time.monotonic_ns()}"
        waiting.setdefault(partition_of(group_id, OFFSETS_PARTITIONS), group_id)
        if len(waiting) == OFFSETS_PARTITIONS:
            break
    deadline = time.monotonic() + WAIT_S
    for group_id in waiting.values():
        while not _sees_topics(connection, group_id):
            if time.monotonic() > deadline:
                raise SetupError("no coordinator that knows the topics")


def _sees_topics(connection: Connection, group_id: str) -> bool:
    found = connection.ask(FindCoordinatorRequest(coordinator_keys=[group_id]), 4)
    assert isinstance(found, FindCoordinatorResponse), found
    request = ConsumerGroupHeartbeatRequest(
        group_id=group_id,
        member_id="m",
        rebalance_timeout_ms=REBALANCE_MS,
        subscribed_topic_names=NAMES,
        topic_partitions=[],
    )
    joined = connection.ask(request, 1)
    assert isinstance(joined, ConsumerGroupHeartbeatResponse), joined
    if joined.error_code:
        assert joined.error_code in _NOT_YET, joined
        return False
    request.member_epoch = -1
    connection.ask(request, 1)
    return joined.assignment is not None and len(joined.assignment.topic_partitions) == len(NAMES)


@dataclass(slots=True)
class Member:
    """A client, which believes what Kafka tells it."""

    member_id: str
    names: list[str] | None
    regex: str | None
    instance_id: str | None
    rack_id: str | None
    assignor: str | None
    epoch: int = 0
    owned: dict[TopicId, list[int]] = field(default_factory=dict)


class Shadow:
    """One group, at Kafka's broker and in our machine."""

    def __init__(self, connection: Connection, group_id: str, seed: int) -> None:
        """An empty group whose id nobody has used."""
        self.connection = connection
        self.group_id = group_id
        self.rng = random.Random(seed)
        self.driver = Driver(seed, replays=False)
        self.members: list[Member] = []
        self.differences: list[str] = []
        self.answers_count = 0
        self._made = 0

    def add_topics(self, topics: dict[str, tuple[TopicId, int]]) -> None:
        """Tell our machine of Kafka's topics."""
        for name, (topic_id, partitions) in topics.items():
            self.driver.topics.add(name, partitions, topic_id)

    # Both are asked

    def beat(self, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse:
        """Ask both, note what differs, and return what Kafka says."""
        theirs = self.connection.ask(request, 1)
        assert isinstance(theirs, ConsumerGroupHeartbeatResponse), theirs
        ours = self.driver.ask(request, 1, self.driver.groups.heartbeat, CLIENT_ID, "/127.0.0.1")
        assert isinstance(ours, ConsumerGroupHeartbeatResponse)
        self._compare(f"heartbeat {request}", _said(theirs), _said(ours))
        self.driver.sleep(100)
        return theirs

    def describe(self) -> DescribedGroup:
        """Ask both for the group as it is, note what differs, and return what Kafka says."""
        answer = self.connection.ask(ConsumerGroupDescribeRequest(group_ids=[self.group_id]), 1)
        assert isinstance(answer, ConsumerGroupDescribeResponse), answer
        (theirs,) = answer.groups
        ours: list[DescribedGroup] = []
        self.driver.turn(lambda turn: ours.append(self.driver.groups.describe(self.group_id, turn)))
        self._compare("describe", _described(theirs), _described(ours[0]))
        return theirs

    def _compare(self, what: str, theirs: object, ours: object) -> None:
        self.answers_count += 1
        if theirs != ours:
            self.differences.append(f"{what}:\n  Kafka: {theirs}\n  ours:  {ours}")

    # What members do

    def new_member(self, names: list[str] | None, regex: str | None = None) -> Member:
        """Return a client that has not joined yet."""
        rng = self.rng
        self._made += 1
        return Member(
            member_id=str(UUID(int=rng.getrandbits(128), version=4)),
            names=names,
            regex=regex,
            instance_id=f"static-{self._made}" if rng.random() < 0.2 else None,
            rack_id=rng.choice([None, "left", "right"]),
            assignor=None,
        )

    def step(self, member: Member, *, names: list[str] | None = None) -> None:
        """Have a member send its heartbeat, perhaps with another subscription."""
        joins = member.epoch == 0
        if names is not None:
            member.names = names
        answer = self.beat(
            ConsumerGroupHeartbeatRequest(
                group_id=self.group_id,
                member_id=member.member_id,
                member_epoch=member.epoch,
                instance_id=member.instance_id,
                rack_id=member.rack_id if joins else None,
                rebalance_timeout_ms=REBALANCE_MS if joins else -1,
                subscribed_topic_names=member.names if joins else names,
                subscribed_topic_regex=member.regex if joins else None,
                server_assignor=member.assignor if joins else None,
                topic_partitions=[
                    TopicPartitions(topic_id=topic_id, partitions=partitions)
                    for topic_id, partitions in member.owned.items()
                ],
            )
        )
        if answer.error_code:
            member.epoch, member.owned = 0, {}
            return
        member.epoch = answer.member_epoch
        if answer.assignment is not None:
            member.owned = {
                topic.topic_id: list(topic.partitions)
                for topic in answer.assignment.topic_partitions
            }

    def leave(self, member: Member, epoch: int = -1) -> None:
        """Have a member go; with -2 it stays in the list and may join again."""
        self.beat(
            ConsumerGroupHeartbeatRequest(
                group_id=self.group_id,
                member_id=member.member_id,
                member_epoch=epoch,
                instance_id=member.instance_id,
                topic_partitions=[],
            )
        )
        member.epoch, member.owned = 0, {}
        if epoch == -1:
            self.members.remove(member)
        else:
            member.member_id = str(UUID(int=self.rng.getrandbits(128), version=4))

    def await_patterns(self) -> None:
        """Return once Kafka has looked up the group's patterns, as ours has by then."""
        deadline = time.monotonic() + WAIT_S
        self.driver.sleep(100)
        ours = self.driver.groups.group(self.group_id)
        assert ours is not None
        while time.monotonic() < deadline:
            request = ConsumerGroupDescribeRequest(group_ids=[self.group_id])
            answer = self.connection.ask(request, 1)
            assert isinstance(answer, ConsumerGroupDescribeResponse)
            if answer.groups[0].group_epoch >= ours.group_epoch:
                return
        raise SetupError("Kafka did not look a pattern up")

    def settle(self, rounds_max: int = 20) -> None:
        """Have all members send heartbeats until the group is stable."""
        for _ in range(rounds_max):
            for member in self.members:
                self.step(member)
            if self.describe().group_state in ("Stable", "Empty"):
                return
        self.differences.append(f"not stable after {rounds_max} rounds")

    def play(self, steps: int) -> None:
        """Let members come, go and change their minds, as the seed wants it."""
        rng = self.rng
        alike = rng.random() < 0.5
        common = rng.sample(NAMES, rng.randint(1, 4))
        assignors: tuple[str | None, ...] = (None,)
        if rng.random() < 0.7:
            assignors = rng.choice([(None, "range", "uniform"), ("range",)])
        regex = rng.choice([None, None, r"shadow-[0246]", r"shadow-\d+"])

        def names() -> list[str]:
            return common if alike else rng.sample([*NAMES, "missing"], rng.randint(1, 5))

        for _ in range(steps):
            chance = rng.random()
            if chance < 0.35 or not self.members:
                member = self.new_member(names())
                member.assignor = rng.choice(assignors)
                if regex is not None and rng.random() < 0.6:
                    member.regex = regex
                    member.names = None if rng.random() < 0.7 else member.names
                self.members.append(member)
                self.step(member)
                if member.regex:
                    self.await_patterns()
            elif chance < 0.5:
                self.leave(rng.choice(self.members))
            elif chance < 0.57 and (statics := [one for one in self.members if one.instance_id]):
                member = rng.choice(statics)
                self.leave(member, -2)
                if rng.random() < 0.5:
                    self.step(rng.choice(self.members))
                self.step(member)
            elif chance < 0.65 and not alike:
                self.step(rng.choice(self.members), names=names())
            elif chance < 0.8:
                self.step(rng.choice(self.members))
            else:
                self.settle()
        if self.members:
            self.settle()


def _said(answer: ConsumerGroupHeartbeatResponse) -> object:
    assignment = answer.assignment
    return (
        answer.error_code,
        answer.error_message,
        answer.member_id,
        answer.member_epoch,
        answer.heartbeat_interval_ms,
        None if assignment is None else _partitions(assignment.topic_partitions),
    )


def _partitions(topics: Sequence[object]) -> list[tuple[str, list[int]]]:
    return sorted(
        (topic.topic_id.hex(), sorted(topic.partitions))  # type: ignore[attr-defined]
        for topic in topics
    )


def _described(group: DescribedGroup) -> object:
    return (
        group.error_code,
        group.group_state,
        group.group_epoch,
        group.assignment_epoch,
        group.assignor_name,
        sorted(_members(group)),
    )


def _members(group: DescribedGroup) -> Iterator[tuple[object, ...]]:
    for member in group.members:
        yield (
            member.member_id,
            member.instance_id or "",
            member.rack_id or "",
            member.member_epoch,
            sorted(member.subscribed_topic_names),
            member.subscribed_topic_regex,
            _partitions(member.assignment.topic_partitions),
            _partitions(member.target_assignment.topic_partitions),
            member.client_id,
            member.client_host,
            member.member_type,
        )
