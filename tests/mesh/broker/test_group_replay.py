"""Replay is the truth: whatever clients ask, a coordinator is what its committed log says."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from mesh.groups import Image, decode_untrusted
from mesh.model.errors import ErrorCode
from mesh.model.names import OFFSETS_TOPIC
from mesh.wire import Message
from mesh.wire.schemas.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    TopicPartitions,
)
from mesh.wire.schemas.delete_groups import DeleteGroupsRequest
from mesh.wire.schemas.delete_topics import DeleteTopicsRequest
from mesh.wire.schemas.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from mesh.wire.schemas.heartbeat import HeartbeatRequest
from mesh.wire.schemas.join_group import (
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
)
from mesh.wire.schemas.leave_group import LeaveGroupRequest, MemberIdentity
from mesh.wire.schemas.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from mesh.wire.schemas.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from mesh.wire.schemas.sync_group import SyncGroupRequest, SyncGroupRequestAssignment
from storage.records import batches, read_records
from tests.mesh.node.peer import Peer

GROUPS = ("a", "b", "c")
NEW_GROUPS = ("c", "n")
"""Groups by KIP-848; one of them classic members want, too."""
TOPICS = ("orders", "others")
STEPS = 200
READ_BYTES = 1 << 20


class Consumer:
    """What a member of a group by KIP-848 remembers."""

    def __init__(self, group: str, number: int) -> None:
        self.group = group
        self.member_id = f"{group}-consumer-{number}"
        self.epoch = 0
        self.owned: list[TopicPartitions] = []

    def beat(self, chance: random.Random) -> ConsumerGroupHeartbeatRequest:
        """Return a heartbeat; one that joins says all, others say what they have, or leave."""
        joins = self.epoch <= 0
        if not joins and chance.random() < 0.1:
            return ConsumerGroupHeartbeatRequest(
                group_id=self.group, member_id=self.member_id, member_epoch=-1
            )
        return ConsumerGroupHeartbeatRequest(
            group_id=self.group,
            member_id=self.member_id,
            member_epoch=max(self.epoch, 0),
            rebalance_timeout_ms=20_000 if joins else -1,
            subscribed_topic_names=chance.sample(TOPICS, chance.choice((1, 2))) if joins else None,
            topic_partitions=[] if joins else self.owned,
        )

    def learn(self, answer: ConsumerGroupHeartbeatResponse) -> None:
        """Take note of an answer; after an error it joins anew."""
        self.epoch = answer.member_epoch if answer.error_code == 0 else 0
        if answer.error_code:
            self.owned = []
        elif answer.assignment is not None:
            self.owned = answer.assignment.topic_partitions


class Member:
    """What a client remembers of its membership; now and then it is wrong about it."""

    def __init__(self, group: str, instance: str | None) -> None:
        self.group = group
        self.instance = instance
        self.member_id = ""
        self.generation = -1
        self.leads: list[str] = []
        """Ids of all members, if this one is to assign."""

    def learn(self, answer: JoinGroupResponse) -> None:
        """Take note of what a JoinGroup was answered."""
        if answer.error_code in (ErrorCode.NONE, ErrorCode.MEMBER_ID_REQUIRED):
            self.member_id = answer.member_id
            self.generation = answer.generation_id
            self.leads = [each.member_id for each in answer.members]
        elif answer.error_code != ErrorCode.REBALANCE_IN_PROGRESS:
            self.member_id = ""


class Run:
    """Clients that ask one node at random, and what is true after each question."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        config = {
            "offsets.topic.num.partitions": "3",
            "group.initial.rebalance.delay.ms": "0",
            "offsets.retention.minutes": "1",
            "offsets.retention.check.interval.ms": "5000",
        }
        self.peer = Peer(config=config, seed=seed)
        for topic in TOPICS:
            self.peer.create(topic, 3)
        self.peer.ask(FindCoordinatorRequest(coordinator_keys=["a"]), FindCoordinatorResponse)
        self.members = [
            Member(group, f"i{number}" if number == 1 else None)
            for group in GROUPS
            for number in range(2)
        ]
        self.consumers = [Consumer(group, number) for group in NEW_GROUPS for number in range(3)]
        self.joins: dict[object, Member] = {}
        """Connections on which a JoinGroup waits for its answer."""

    def step(self) -> None:
        """Let a client ask something, or time pass; then bring everything to the disk."""
        peer, chance = self.peer, self.chance
        if chance.random() < 0.15:
            peer.pass_time(chance.choice((1, 500, 7_000, 40_000)))
        elif chance.random() < 0.02:
            name = chance.choice(TOPICS)
            peer.send(
                peer.connect(), DeleteTopicsRequest(topic_names=[name], timeout_ms=99), version=5
            )
            peer.sync()
            peer.create(name, 3)
        elif chance.random() < 0.4:
            consumer = chance.choice(self.consumers)
            request = consumer.beat(chance)
            consumer.learn(peer.ask(request, ConsumerGroupHeartbeatResponse))
        else:
            self.ask(chance.choice(self.members))
        peer.sync()
        for connection, member in list(self.joins.items()):
            for answer in peer.answers(connection):  # type: ignore[arg-type]
                assert isinstance(answer, JoinGroupResponse)
                member.learn(answer)
                del self.joins[connection]

    def ask(self, member: Member) -> None:
        """Let a member, or an administrator of its group, ask something."""
        connection = self.peer.connect()
        request, version = self.chance.choice([*self.questions(member)])
        self.peer.send(connection, request, version=version)
        if isinstance(request, JoinGroupRequest):
            self.joins[connection] = member

    def questions(self, member: Member) -> Iterator[tuple[Message, int]]:
        """Yield what may be asked, with the version of the request."""
        join = JoinGroupRequest(
            group_id=member.group,
            session_timeout_ms=10_000,
            rebalance_timeout_ms=20_000,
            member_id=member.member_id,
            group_instance_id=member.instance,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name="range", metadata=b"x")],
        )
        sync = SyncGroupRequest(
            group_id=member.group,
            generation_id=member.generation,
            member_id=member.member_id,
            group_instance_id=member.instance,
            protocol_type="consumer",
            protocol_name="range",
            assignments=[
                SyncGroupRequestAssignment(member_id=each, assignment=each.encode())
                for each in member.leads
            ],
        )
        yield from [(join, 9)] * 4 + [(sync, 5)] * 4
        yield (
            HeartbeatRequest(
                group_id=member.group,
                generation_id=member.generation,
                member_id=member.member_id,
                group_instance_id=member.instance,
            ),
            4,
        )
        leaving = MemberIdentity(member_id=member.member_id, group_instance_id=member.instance)
        yield LeaveGroupRequest(group_id=member.group, members=[leaving]), 5
        topic = self.chance.choice(TOPICS)
        for generation, member_id in ((member.generation, member.member_id), (-1, "")):
            partition = OffsetCommitRequestPartition(
                partition_index=self.chance.randrange(3),
                committed_offset=self.chance.randrange(1000),
            )
            commit = OffsetCommitRequest(
                group_id=member.group,
                generation_id_or_member_epoch=generation,
                member_id=member_id,
                group_instance_id=member.instance if generation >= 0 else None,
                topics=[OffsetCommitRequestTopic(name=topic, partitions=[partition])],
            )
            yield from [(commit, 9), (commit, 9)]
        where = OffsetDeleteRequestPartition(partition_index=self.chance.randrange(3))
        wanted = OffsetDeleteRequestTopic(name=topic, partitions=[where])
        yield OffsetDeleteRequest(group_id=member.group, topics=[wanted]), 0
        yield DeleteGroupsRequest(groups_names=[member.group]), 2

    def check(self) -> int:
        """Compare every coordinator with its log; return how many members that tells of."""
        count = 0
        coordinators = self.peer.node.broker.coordinators
        for index in range(3):
            seat = coordinators.seat(index)
            assert seat is not None
            assert seat.image.state() == self.replayed(index).state()
            stored = [group.classic for group in seat.image.groups.values()]
            count += sum(len(each.members) for each in stored if each is not None)
            new = [group.consumer for group in seat.image.groups.values()]
            count += sum(len(each.members) for each in new if each is not None)
        return count

    def replayed(self, index: int) -> Image:
        """Return what a fresh coordinator would know, from committed records alone."""
        partition = self.peer.node.broker.partitions[OFFSETS_TOPIC, index]
        assert partition.high_watermark == partition.log.log_end_offset
        image, offset = Image(), partition.log.log_start_offset
        while offset < partition.high_watermark:
            for piece in partition.log.read(offset, READ_BYTES, partition.high_watermark):
                for batch in batches(piece.read()):
                    for record in read_records(batch):
                        found = decode_untrusted(record.key or b"", record.value)
                        assert found is not None
                        image.replay(*found)
                        offset = record.offset + 1
        return image


@pytest.mark.parametrize("seed", range(12))
def test_a_coordinator_is_what_its_committed_log_says(seed: int) -> None:
    """After every request a fresh coordinator, replayed, equals the running one."""
    run = Run(seed)
    most = 0
    for _ in range(STEPS):
        run.step()
        most = max(most, run.check())
    assert most >= 3, "hardly anybody became a member, so nothing much was compared"
