"""Groups by KIP-848 on a whole node, over the wire: heartbeats, describing, commits, restarts."""

from __future__ import annotations

from mesh.model.errors import ErrorCode
from mesh.wire.schemas.api_versions import ApiVersionsRequest, ApiVersionsResponse
from mesh.wire.schemas.consumer_group_describe import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    DescribedGroup,
)
from mesh.wire.schemas.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)
from mesh.wire.schemas.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse
from mesh.wire.schemas.describe_groups import DescribeGroupsRequest, DescribeGroupsResponse
from mesh.wire.schemas.list_groups import ListGroupsRequest, ListGroupsResponse
from mesh.wire.schemas.offset_commit import OffsetCommitResponse
from mesh.wire.schemas.update_features import (
    FeatureUpdateKey,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
)
from tests.mesh.broker.test_group_offsets import a_peer, committing, restarted
from tests.mesh.node.peer import Peer


def beat(
    peer: Peer, epoch: int = 0, member_id: str = "m", group: str = "g"
) -> ConsumerGroupHeartbeatResponse:
    """Send a heartbeat that says what a first one must."""
    request = ConsumerGroupHeartbeatRequest(
        group_id=group,
        member_id=member_id,
        member_epoch=epoch,
        rebalance_timeout_ms=60_000,
        subscribed_topic_names=["orders"],
        topic_partitions=[],
    )
    return peer.ask(request, ConsumerGroupHeartbeatResponse)


def described(peer: Peer, group: str = "g") -> DescribedGroup:
    """Ask for one group."""
    request = ConsumerGroupDescribeRequest(group_ids=[group])
    return peer.ask(request, ConsumerGroupDescribeResponse).groups[0]


def commit_code(peer: Peer, epoch: int, member_id: str = "m") -> int:
    """Commit as a member; return the partition's error."""
    request = committing(generation=epoch)
    request.member_id = member_id
    answer = peer.ask(request, OffsetCommitResponse, version=9)
    return answer.topics[0].partitions[0].error_code


def test_member_joins_commits_and_leaves() -> None:
    """It is assigned all there is, may commit by its epoch, and is listed with its group."""
    peer = a_peer()
    joined = beat(peer)
    assert (joined.error_code, joined.member_epoch) == (ErrorCode.NONE, 2)
    assert joined.assignment is not None
    (topic,) = joined.assignment.topic_partitions
    assert topic.partitions == [0, 1]
    assert commit_code(peer, 2) == ErrorCode.NONE
    assert commit_code(peer, 3) == ErrorCode.STALE_MEMBER_EPOCH
    assert commit_code(peer, -1, "") == ErrorCode.UNKNOWN_MEMBER_ID
    listed = peer.ask(ListGroupsRequest(), ListGroupsResponse).groups
    assert [(g.group_type, g.group_state, g.protocol_type) for g in listed] == [
        ("consumer", "Stable", "consumer")
    ]
    (member,) = described(peer).members
    assert member.assignment.topic_partitions[0].topic_name == "orders"
    assert beat(peer, -1).member_epoch == -1
    assert described(peer).group_state == "Empty"


def test_classic_requests_do_not_find_it() -> None:
    """DescribeGroups says so; what has members cannot be deleted, what has none can."""
    peer = a_peer()
    beat(peer)
    request = DescribeGroupsRequest(groups=["g"])
    (group,) = peer.ask(request, DescribeGroupsResponse).groups
    assert group.error_code == ErrorCode.GROUP_ID_NOT_FOUND
    assert group.error_message == "Group g is not a classic group."
    delete = DeleteGroupsRequest(groups_names=["g"])
    for code in (ErrorCode.NON_EMPTY_GROUP, ErrorCode.NONE):
        answer = peer.ask(delete, DeleteGroupsResponse)
        assert answer.results[0].error_code == code
        beat(peer, -1)
    assert described(peer).error_code == ErrorCode.GROUP_ID_NOT_FOUND


def test_members_outlive_a_crash_of_their_coordinator() -> None:
    """Whoever was told something finds it so afterwards, and goes on from there."""
    peer = a_peer()
    epoch = beat(peer).member_epoch
    commit_code(peer, epoch)
    before = described(peer)
    peer = restarted(peer)
    assert described(peer) == before
    assert beat(peer, epoch).error_code == ErrorCode.NONE
    assert commit_code(peer, epoch) == ErrorCode.NONE


def test_silent_members_are_fenced_by_the_clock_of_the_node() -> None:
    """After the session time-out, though no request comes in."""
    peer = a_peer()
    beat(peer)
    peer.pass_time(46_000)
    assert beat(peer, 2).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert described(peer).group_state == "Empty"


def test_group_version_is_told_and_may_be_switched_off() -> None:
    """At level 0 there are no such groups; a start does not raise it again."""
    peer = a_peer()
    told = peer.ask(
        ApiVersionsRequest(client_software_name="a", client_software_version="1"),
        ApiVersionsResponse,
    )
    levels = {each.name: each.max_version_level for each in told.finalized_features}
    assert levels["group.version"] == 1
    ranges = {each.name: (each.min_version, each.max_version) for each in told.supported_features}
    assert ranges["group.version"] == (0, 1)
    lower = UpdateFeaturesRequest(
        timeout_ms=1_000,
        feature_updates=[
            FeatureUpdateKey(feature="group.version", max_version_level=0, upgrade_type=2)
        ],
    )
    assert peer.ask(lower, UpdateFeaturesResponse).error_code == ErrorCode.NONE
    for each in (peer, restarted(peer)):
        assert beat(each).error_code == ErrorCode.UNSUPPORTED_VERSION
        assert described(each).error_code == ErrorCode.UNSUPPORTED_VERSION
