"""Groups in pictures of a node: lag, age and what blocks them, by what is committed."""

from __future__ import annotations

import pytest

from mesh.broker import group_survey
from mesh.broker.group_survey import SILENT_MS, Found, GroupSurvey
from mesh.model.statistics import GROUPS_MAX, GroupStatistics
from mesh.wire.schemas.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse
from mesh.wire.schemas.join_group import (
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
)
from mesh.wire.schemas.produce import ProduceResponse
from mesh.wire.schemas.sync_group import SyncGroupRequest, SyncGroupResponse
from storage.records import Record, build_batch
from tests.mesh.broker.test_consumer_groups import beat
from tests.mesh.broker.test_group_offsets import a_peer, commit, committing
from tests.mesh.node.peer import Peer, a_produce


def look(peer: Peer, survey: GroupSurvey | None = None) -> Found:
    return (survey or GroupSurvey()).look(peer.node.broker, peer.now)


def one(peer: Peer) -> GroupStatistics:
    """The one group that there is."""
    [group] = look(peer).groups
    return group


def five_records(peer: Peer) -> None:
    """Written to partition 0 of orders, now."""
    records = [Record(index, peer.now.wall_ms, None, b"x", []) for index in range(5)]
    written = a_produce("orders", batch=bytes(build_batch(records)))
    peer.ask(written, ProduceResponse, version=9)


def test_lag_and_age_are_those_of_the_records_that_wait() -> None:
    """Offsets up to the high watermark; the age of the first, 0 once all is read."""
    peer = a_peer()
    five_records(peer)
    commit(peer, committing(2))
    peer.pass_time(4_000)
    found = one(peer)
    assert (found.group, found.kind, found.state, found.members) == ("g", "classic", "Empty", 0)
    assert (found.lag, found.committed) == (3, 2)
    assert found.lag_ms == 4_000
    assert found.blocked_by == "no members: 3 records wait and nobody reads them"
    commit(peer, committing(5))
    done = one(peer)
    assert (done.lag, done.lag_ms, done.blocked_by) == (0, 0, None)


def a_member(peer: Peer) -> None:
    """Join a group as its only member, which is stable then."""
    protocols = [JoinGroupRequestProtocol(name="range", metadata=b"")]
    request = JoinGroupRequest(
        group_id="g",
        session_timeout_ms=10**6,
        rebalance_timeout_ms=10**6,
        protocol_type="x",
        protocols=protocols,
    )
    connection = peer.connect()
    peer.send(connection, request, version=3)
    peer.pass_time(0)  # The delay of a first rebalance, which is 0.
    peer.sync()
    [joined] = peer.answers(connection)
    assert isinstance(joined, JoinGroupResponse)
    sync = SyncGroupRequest(
        group_id="g", generation_id=joined.generation_id, member_id=joined.member_id
    )
    peer.ask(sync, SyncGroupResponse, version=3)


def test_members_that_commit_nothing_for_long_are_told_of() -> None:
    """With how long it has been, and how much waits; not while there is nothing to read."""
    peer = a_peer(group_initial_rebalance_delay_ms="0", group_max_session_timeout_ms="1800000")
    commit(peer, committing(0))
    a_member(peer)
    peer.pass_time(SILENT_MS)
    assert one(peer).blocked_by is None
    five_records(peer)
    found = one(peer)
    assert (found.state, found.members) == ("Stable", 1)
    assert found.blocked_by == "nothing was committed for 30 s where 5 records wait"
    assert look(peer).members == 1


@pytest.mark.parametrize("looks_max", [1, 3, 1_000])
def test_a_walk_over_many_groups_takes_several_pictures(
    looks_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each does its piece; what is told is of the last walk that was finished."""
    monkeypatch.setattr(group_survey, "GROUP_LOOKS_MAX", looks_max)
    peer = a_peer()
    five_records(peer)
    count = GROUPS_MAX + 5
    for number in range(count):
        commit(peer, committing(number % 5, group=f"g{number:02}"))
    survey = GroupSurvey()
    found = look(peer, survey)
    for _ in range(2 * count):
        if not found.by_state:
            found = look(peer, survey)
    assert found.by_state == {"Empty": count}
    assert [group.lag for group in found.groups] == [5] * 5 + [4] * 5 + [3] * 5 + [2] * 5


def test_a_group_that_goes_during_a_walk_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk ends all the same."""
    monkeypatch.setattr(group_survey, "GROUP_LOOKS_MAX", 1)
    peer = a_peer()
    for name in ("a", "b"):
        commit(peer, committing(1, group=name))
    survey = GroupSurvey()
    assert look(peer, survey) == Found()
    peer.ask(DeleteGroupsRequest(groups_names=["a", "b"]), DeleteGroupsResponse)
    assert look(peer, survey).by_state in ({"Empty": 1}, {})


def test_counters_outlive_a_coordinator(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is loaded anew begins at 0; what the node counted does not."""
    peer = a_peer()
    coordinators = peer.node.broker.coordinators
    commit(peer, committing(1))
    commit(peer, committing(2))
    assert coordinators.offset_commits_count == 2
    seat, _ = coordinators.find("g")
    assert seat is not None
    monkeypatch.setattr(seat.partition, "takes_writes", False)
    commit(peer, committing(3))  # Cannot be appended, so its coordinator is thrown away.
    assert coordinators.offset_commits_count >= 2


def test_members_of_a_new_group_that_have_not_moved_are_named() -> None:
    """A second member waits for what the first still holds: both are on their way."""
    peer = a_peer()
    assert beat(peer).member_epoch == 2
    peer.pass_time(5_000)  # Longer than assignments are apart.
    beat(peer, member_id="other")
    found = one(peer)
    assert (found.kind, found.state, found.members) == ("consumer", "Reconciling", 2)
    assert found.blocked_by is not None
    assert found.blocked_by.startswith("rebalance under way (Reconciling): ")
    assert "; not there yet: m" in found.blocked_by
