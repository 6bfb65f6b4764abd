"""Stories of static members: they come back as who they were, and fence who they were before."""

from __future__ import annotations

import pytest

from mesh.model.errors import ErrorCode
from tests.mesh.groups.classic_driver import GROUP, REBALANCE_MS, SESSION_MS, Driver


def two_static(driver: Driver, **fields: object) -> list[str]:
    """Bring instances `i0` (leads) and `i1` into a stable first generation; return their ids."""
    driver.config = driver.config.__class__(group_initial_delay_ms=1_000)
    asks = [
        driver.join(instance=name, **fields)  # type: ignore[arg-type]
        for name in ("i0", "i1")
    ]
    driver.sleep(2_100)
    generation, ids = driver.generation(*asks)
    driver.all_sync(generation, ids)
    return ids


def test_static_member_needs_no_round_for_its_id() -> None:
    """Its id begins with its instance's, and it joins with its first request."""
    driver = Driver()
    ids = two_static(driver)
    assert [one[:3] for one in ids] == ["i0-", "i1-"]
    group = driver.groups.group(GROUP)
    assert group is not None
    assert group.instances == {"i0": ids[0], "i1": ids[1]}


@pytest.mark.parametrize("version", [5, 6, 7, 8, 9])
def test_leader_that_comes_back_does_not_rebalance(version: int) -> None:
    """From version 9 it is told to skip the assignment; before, that another one leads."""
    driver = Driver()
    ids = two_static(driver)
    answer = driver.joined(driver.join(instance="i0", version=version))
    assert (answer.error_code, answer.generation_id) == (0, 1)
    assert answer.member_id not in ids
    assert driver.state() == "Stable"
    if version == 9:
        assert (answer.leader, answer.skip_assignment) == (answer.member_id, True)
        assert [one.member_id for one in answer.members] == [answer.member_id, ids[1]]
    else:
        assert (answer.leader, answer.skip_assignment) == (ids[0], False)
        assert answer.members == []
    again = driver.synced(driver.sync(answer.member_id, 1, instance="i0"))
    assert again.assignment == ids[0].encode()
    stored = driver.coordinator.image.groups[GROUP].classic
    assert stored is not None
    assert stored.leader == answer.member_id
    assert [one.member_id for one in stored.members] == [answer.member_id, ids[1]]


def test_follower_that_comes_back_does_not_rebalance() -> None:
    """It is told of the generation that goes on, and gets what it had."""
    driver = Driver()
    ids = two_static(driver)
    answer = driver.joined(driver.join(instance="i1"))
    assert (answer.leader, answer.skip_assignment, answer.members) == (ids[0], False, [])
    assert driver.synced(driver.sync(answer.member_id, 1)).assignment == ids[1].encode()


def test_who_was_replaced_is_fenced() -> None:
    """Two processes with one instance id: the one that joined last goes on, the other ends."""
    driver = Driver()
    ids = two_static(driver)
    new_id = driver.joined(driver.join(instance="i1")).member_id
    fenced = int(ErrorCode.FENCED_INSTANCE_ID)
    assert driver.heartbeat(ids[1], 1, instance="i1") == fenced
    assert driver.synced(driver.sync(ids[1], 1, instance="i1")).error_code == fenced
    answer = driver.joined(driver.join(ids[1], instance="i1"))
    assert (answer.error_code, answer.protocol_name) == (fenced, None)
    assert driver.leave((ids[1], "i1")) == [fenced]
    assert driver.heartbeat(ids[1], 1) == ErrorCode.UNKNOWN_MEMBER_ID
    assert driver.heartbeat(new_id, 1, instance="i1") == 0
    assert driver.leave((new_id, "i1")) == [0]


def test_what_waits_for_a_replaced_member_is_fenced() -> None:
    """Its JoinGroup and SyncGroup are answered when the other one comes."""
    driver = Driver()
    ids = two_static(driver)
    parked = driver.join(ids[0], instance="i0")
    driver.join(instance="i0")
    answer = driver.joined(parked)
    assert (answer.error_code, answer.member_id) == (ErrorCode.FENCED_INSTANCE_ID, ids[0])
    driver.join(ids[1], instance="i1")
    assert driver.state() == "CompletingRebalance"
    waits = driver.sync(ids[1], 2, instance="i1")
    driver.join(instance="i1")
    assert driver.synced(waits).error_code == ErrorCode.FENCED_INSTANCE_ID
    assert driver.state() == "PreparingRebalance"


def test_coming_back_with_another_protocol_rebalances() -> None:
    """If the members would choose another protocol now, they are asked to."""
    driver = Driver()
    ids = two_static(driver, protocols={"range": b"1", "sticky": b"2"})
    back = driver.join(instance="i0", protocols={"sticky": b"3"})
    assert driver.state() == "PreparingRebalance"
    driver.join(ids[1], instance="i1", protocols={"range": b"1", "sticky": b"2"})
    answer = driver.joined(back)
    assert (answer.protocol_name, answer.generation_id) == ("sticky", 2)
    assert answer.leader == answer.member_id


def test_absent_static_members_stay_until_their_session_ends() -> None:
    """A rebalance keeps the place of a static member that did not join; a session does not."""
    driver = Driver()
    ids = two_static(driver, session_ms=200_000)
    back = driver.join(ids[0], instance="i0", session_ms=200_000)
    driver.sleep(REBALANCE_MS + 100)
    answer = driver.joined(back)
    assert [one.group_instance_id for one in answer.members] == ["i0", "i1"]
    assert answer.leader == ids[0]


def test_absent_static_leader_does_not_lead() -> None:
    """It keeps its place, but one who is there assigns."""
    driver = Driver()
    ids = two_static(driver, session_ms=200_000)
    back = driver.join(ids[1], instance="i1", protocols={"range": b"x"}, session_ms=200_000)
    driver.sleep(REBALANCE_MS + 100)
    answer = driver.joined(back)
    assert answer.leader == ids[1]
    assert [one.member_id for one in answer.members] == ids


def test_rebalance_without_anybody_goes_on_until_sessions_end() -> None:
    """All static and none joins: nobody could lead, so it waits until they are out."""
    driver = Driver()
    ids = two_static(driver, session_ms=100_000)
    parked = driver.join(ids[0], instance="i0", session_ms=100_000)
    assert parked in driver.waiting
    driver.leave((ids[0], "i0"))
    driver.sleep(REBALANCE_MS + 100)
    assert driver.state() == "PreparingRebalance"
    driver.sleep(REBALANCE_MS)
    assert driver.state() == "Empty"


def test_administrator_removes_by_instance_id() -> None:
    """Without a member id the instance's counts; who waits is told that it is a member no more."""
    driver = Driver()
    ids = two_static(driver)
    parked = driver.join(ids[0], instance="i0")
    assert driver.leave(("", "i0"), ("", "nobody")) == [0, ErrorCode.UNKNOWN_MEMBER_ID]
    assert driver.joined(parked).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert driver.heartbeat(ids[0], 1, instance="i0") == ErrorCode.UNKNOWN_MEMBER_ID


def test_unknown_instance_with_a_member_id_is_unknown() -> None:
    """Only who joined with an instance id has one."""
    driver = Driver()
    ids = two_static(driver)
    answer = driver.joined(driver.join(ids[0], instance="other"))
    assert answer.error_code == ErrorCode.UNKNOWN_MEMBER_ID
    answer = driver.joined(driver.join(ids[0], instance="i1"))
    assert answer.error_code == ErrorCode.FENCED_INSTANCE_ID


def test_static_members_fall_silent_as_others_do() -> None:
    """A session that ends makes a rebalance of those who are left."""
    driver = Driver()
    ids = two_static(driver)
    driver.sleep(SESSION_MS - 1_000)
    driver.heartbeat(ids[1], 1, instance="i1")
    driver.sleep(1_100)
    assert driver.heartbeat(ids[1], 1, instance="i1") == ErrorCode.REBALANCE_IN_PROGRESS
    assert driver.heartbeat(ids[0], 1, instance="i0") == ErrorCode.UNKNOWN_MEMBER_ID


def test_static_members_without_patience_do_not_keep_the_node_busy() -> None:
    """A rebalance time-out may be negative; with none of them there, it must not go off at once."""
    driver = Driver()
    first = driver.join(instance="a")
    driver.sleep(0)
    leader = driver.joined(first)
    driver.sync(leader.member_id, leader.generation_id, {}, instance="a")
    second = driver.join(instance="b")
    driver.join(leader.member_id, instance="a", rebalance_ms=-(2**31))
    driver.sleep(0)
    follower = driver.joined(second)
    for member_id, instance in ((leader.member_id, "a"), (follower.member_id, "b")):
        driver.sync(member_id, follower.generation_id, {}, instance=instance)
    assert driver.leave(("", "b")) == [ErrorCode.NONE]
    looks = 0
    while (next_ms := driver.wheel.next_ms) is not None and next_ms <= driver.now_ms and looks < 10:
        looks += 1
        for _, call in driver.wheel.due(driver.now_ms):
            driver.turn(call)
    assert looks <= 2
