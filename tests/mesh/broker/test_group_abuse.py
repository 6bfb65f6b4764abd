"""Requests and records that no coordinator's client sends: they cost nobody else anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from crc32c import crc32c

from mesh.broker.coordinators import Gathered, Pending
from mesh.groups.records import encode
from mesh.model.errors import ErrorCode
from mesh.model.names import OFFSETS_TOPIC
from mesh.wire.schemas.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)
from mesh.wire.schemas.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse
from mesh.wire.schemas.join_group import (
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
)
from mesh.wire.schemas.sync_group import SyncGroupRequest, SyncGroupResponse
from mesh.wire.stored.groups import GroupMetadataKey, GroupMetadataValue, MemberMetadata
from storage.records import HEADER_SIZE, Record, build_batch, read_batch_header
from tests.mesh.broker.test_group_offsets import (
    a_peer,
    commit,
    committing,
    fetched,
    group_ids,
    load_all,
    restarted,
)
from tests.mesh.node.peer import WALL_MS, Peer

TOO_LONG = "x" * 40_000
"""More than the 32,767 bytes for which a record has room; a flexible request may be so long."""


def one_coordinator() -> Peer:
    """A node on which all groups share one coordinator, where "g" has come to offset 5."""
    peer = a_peer(offsets_topic_num_partitions="1", group_initial_rebalance_delay_ms="0")
    assert commit(peer, committing(5)) == ErrorCode.NONE
    return peer


def is_untouched(peer: Peer) -> bool:
    """Whether the coordinator goes on as before, not loading its log anew."""
    return peer.node.broker.coordinators.find("g")[1] == ErrorCode.NONE


def written(peer: Peer, batch: bytearray) -> None:
    """Put a batch among the records of groups, as an administrator's client may."""
    partition = peer.node.broker.partitions[OFFSETS_TOPIC, 0]
    view = memoryview(batch)
    peer.node.broker.append(partition, view, read_batch_header(view), peer.now)
    commit(peer, committing(6))


def joining(
    *, group: str = "g", kind: str = "consumer", protocol: str = "range", instance: str = "i"
) -> JoinGroupRequest:
    """A static member's JoinGroup."""
    return JoinGroupRequest(
        group_id=group,
        session_timeout_ms=10_000,
        rebalance_timeout_ms=10_000,
        group_instance_id=instance,
        protocol_type=kind,
        protocols=[JoinGroupRequestProtocol(name=protocol)],
    )


def test_an_id_that_no_record_can_hold_is_refused() -> None:
    """It must not cost the other groups of its coordinator a reload; the longest one fits."""
    peer = one_coordinator()
    assert commit(peer, committing(group=TOO_LONG)) == ErrorCode.INVALID_GROUP_ID
    assert is_untouched(peer)
    assert commit(peer, committing(group=TOO_LONG[:32_767])) == ErrorCode.NONE
    assert peer.hung_up == []


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (joining(group=TOO_LONG), ErrorCode.INVALID_GROUP_ID),
        (joining(kind=TOO_LONG), ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        (joining(protocol=TOO_LONG), ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        (joining(instance=TOO_LONG), ErrorCode.INVALID_REQUEST),
    ],
)
def test_a_member_that_no_record_can_hold_is_refused(
    request_: JoinGroupRequest, code: ErrorCode
) -> None:
    """Else the record of its group fails when it joins, or only when it is gone."""
    peer = one_coordinator()
    assert peer.ask(request_, JoinGroupResponse).error_code == code
    assert is_untouched(peer)


@pytest.mark.parametrize("keep_ms", [2**63 - 1, 0, -2, -(2**63)])
def test_any_time_to_keep_an_offset_can_be_written(keep_ms: int) -> None:
    """Before version 5 a client names it; one beyond all time is the last instant that there is."""
    peer = one_coordinator()
    request = committing(7)
    request.retention_time_ms = keep_ms
    assert commit(peer, request, version=4) == ErrorCode.NONE
    assert is_untouched(peer)
    assert fetched(peer, "g") == [{("orders", 0): 7}]


class Looked(list[Pending]):
    """Parts of an answer, and how often somebody went through all of them."""

    looks = 0

    def __iter__(self) -> Iterator[Pending]:
        """Go through them once more."""
        self.looks += 1
        return super().__iter__()


def test_an_answer_for_many_groups_is_made_once() -> None:
    """A thousand groups that wait for one commit are not a million looks."""
    peer = one_coordinator()
    names = [f"group-{number}" for number in range(100)]
    for name in names:
        commit(peer, committing(group=name))
    connection = peer.connect()
    peer.send(connection, DeleteGroupsRequest(groups_names=names))
    parked = connection.answers[0].parked
    assert parked is not None
    whole = parked._waiter
    assert isinstance(whole, Gathered)
    parts = whole.parts = Looked(whole.parts)
    peer.sync()
    (answer,) = peer.answers(connection)
    assert isinstance(answer, DeleteGroupsResponse)
    assert [each.error_code for each in answer.results] == [0] * len(names)
    assert parts.looks == 1


def test_members_that_stand_twice_in_a_record_are_one() -> None:
    """Nobody but an administrator's client can have written that; it must not end the node."""
    peer = one_coordinator()
    twice = MemberMetadata(member_id="m", group_instance_id="i", session_timeout=10_000)
    other = MemberMetadata(member_id="n", group_instance_id="i", session_timeout=10_000)
    value = GroupMetadataValue(
        protocol_type="consumer", generation=3, protocol="range", members=[twice, twice, other]
    )
    key, stored = encode(GroupMetadataKey(group="odd"), value)
    written(peer, build_batch([Record(0, WALL_MS, key, stored)]))
    peer = restarted(peer)
    peer.pass_time(60_000)
    peer.sync()
    assert group_ids(peer) == ["g", "odd"]


def test_a_batch_that_lies_is_passed_over() -> None:
    """Its checksum is right, so it was sent like that; what coordinators wrote around it counts."""
    peer = one_coordinator()
    batch = build_batch([Record(0, WALL_MS, b"k", b"v")])
    batch[HEADER_SIZE:] = b"\xff" * (len(batch) - HEADER_SIZE)
    batch[17:21] = crc32c(memoryview(batch)[21:]).to_bytes(4, "big")
    written(peer, batch)
    assert fetched(restarted(peer), "g") == [{("orders", 0): 6}]


def test_groups_whose_records_are_altered_are_not_served() -> None:
    """The node goes on with everything else, and tells nobody an offset that it cannot know."""
    peer = one_coordinator()
    for offset in range(1_000):
        peer.send(peer.connect(), committing(offset, metadata="x" * 1000), version=9)
    peer.sync()
    peer = restarted(peer, load=False)
    log = peer.node.broker.partitions[OFFSETS_TOPIC, 0].log
    (piece,) = log.read(500, 1, log.log_end_offset)
    content = bytearray(piece.file.read(0, 1 << 30))
    content[piece.position + HEADER_SIZE + 30] ^= 1
    piece.file.truncate(0)
    piece.file.append([content])
    load_all(peer)
    assert commit(peer, committing(7)) == ErrorCode.NOT_COORDINATOR
    assert peer.end_offset("orders") == 0


def test_a_log_may_lose_its_beginning_while_it_is_loaded() -> None:
    """Somebody may have set the offsets' topic to be cut; what is left is loaded all the same."""
    peer = one_coordinator()
    commit(peer, committing(6, partition=1))
    peer = restarted(peer, load=False)
    peer.node.broker.partitions[OFFSETS_TOPIC, 0].log.delete_before(1)
    load_all(peer)
    assert fetched(peer, "g") == [{("orders", 1): 6}]


SUBSCRIPTION = b"\0\0\0\0\0\1\0\6orders\xff\xff\xff\xff"
"""What a consumer says of itself, in the first version."""


def with_a_new_member() -> Peer:
    """A node where "g" is a group by KIP-848 with the member "m"."""
    peer = one_coordinator()
    request = ConsumerGroupHeartbeatRequest(
        group_id="g",
        member_id="m",
        rebalance_timeout_ms=60_000,
        subscribed_topic_names=["orders"],
        topic_partitions=[],
    )
    assert peer.ask(request, ConsumerGroupHeartbeatResponse).error_code == ErrorCode.NONE
    return peer


def test_a_subscription_that_no_record_should_hold_is_refused() -> None:
    """A hundred thousand names take seconds, in which nobody else has a turn."""
    peer = one_coordinator()
    request = ConsumerGroupHeartbeatRequest(
        group_id="g",
        member_id="m",
        rebalance_timeout_ms=60_000,
        subscribed_topic_names=[f"topic-{number}" for number in range(100_000)],
        topic_partitions=[],
    )
    answer = peer.ask(request, ConsumerGroupHeartbeatResponse)
    assert answer.error_code == ErrorCode.INVALID_REQUEST
    request.subscribed_topic_names = ["orders"] * 1_000
    assert peer.ask(request, ConsumerGroupHeartbeatResponse).error_code == ErrorCode.NONE


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"member_id": TOO_LONG}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"group_instance_id": TOO_LONG}, ErrorCode.INVALID_REQUEST),
        (
            {"protocols": [JoinGroupRequestProtocol(name=TOO_LONG, metadata=SUBSCRIPTION)]},
            ErrorCode.INCONSISTENT_GROUP_PROTOCOL,
        ),
    ],
)
def test_a_classic_member_of_a_new_group_that_no_record_can_hold_is_refused(
    fields: dict[str, Any], code: ErrorCode
) -> None:
    """Also if it only could not be stored once the group is a classic one."""
    peer = with_a_new_member()
    spoken = JoinGroupRequestProtocol(name="range", metadata=SUBSCRIPTION)
    request = JoinGroupRequest(
        **{
            "group_id": "g",
            "session_timeout_ms": 10_000,
            "rebalance_timeout_ms": 10_000,
            "protocol_type": "consumer",
            "protocols": [spoken],
            **fields,
        }
    )
    assert peer.ask(request, JoinGroupResponse).error_code == code
    leaving = ConsumerGroupHeartbeatRequest(group_id="g", member_id="m", member_epoch=-1)
    assert peer.ask(leaving, ConsumerGroupHeartbeatResponse).error_code == ErrorCode.NONE
    assert is_untouched(peer)


def test_the_oldest_clients_may_join_a_new_group() -> None:
    """Version 0 names no rebalance time-out: the session's counts, as in classic groups."""
    peer = with_a_new_member()
    request = JoinGroupRequest(
        group_id="g",
        session_timeout_ms=10_000,
        protocol_type="consumer",
        protocols=[JoinGroupRequestProtocol(name="range", metadata=SUBSCRIPTION)],
    )
    joined = peer.ask(request, JoinGroupResponse, version=0)
    assert joined.error_code == ErrorCode.NONE
    peer.pass_time(100)
    request_ = SyncGroupRequest(
        group_id="g", generation_id=joined.generation_id, member_id=joined.member_id
    )
    assert peer.ask(request_, SyncGroupResponse, version=0).error_code == ErrorCode.NONE
