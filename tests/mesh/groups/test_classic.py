"""Stories of classic groups: how members join, agree, are assigned, and go."""

from __future__ import annotations

import pytest

from mesh.model.errors import ErrorCode
from mesh.wire.schemas.leave_group import LeaveGroupRequest, LeaveGroupResponse
from tests.mesh.groups.classic_driver import GROUP, REBALANCE_MS, SESSION_MS, WALL_MS, Driver


def test_first_join_of_a_dynamic_member_only_gets_an_id() -> None:
    """From version 4 on a member learns its id before it may join; the group is there at once."""
    driver = Driver()
    member_id = driver.new_id()
    assert member_id.startswith("app-")
    assert len(member_id) == len("app-") + 36
    assert driver.state() == "Empty"
    assert driver.generation(driver.join(member_id)) == (1, [member_id])
    assert driver.state() == "CompletingRebalance"


def test_old_versions_join_at_once() -> None:
    """Before version 4 nobody asked for an id first, and the session is the rebalance time-out."""
    driver = Driver()
    ask = driver.join(version=0, session_ms=7_000, rebalance_ms=-1)
    generation, (member_id,) = driver.generation(ask)
    group = driver.groups.group(GROUP)
    assert group is not None
    assert generation == 1
    assert group.members[member_id].rebalance_ms == 7_000


def test_leader_is_told_of_all_members_and_followers_of_none() -> None:
    """Only the leader assigns, so only it sees what the others subscribe to."""
    driver = Driver()
    first, second = driver.new_id(), driver.new_id()
    asks = [driver.join(first, protocols={"range": b"1"}), driver.join(second)]
    driver.generation(*asks)
    leader, follower = map(driver.joined, asks)
    assert leader.leader == follower.leader == first
    assert [(one.member_id, one.metadata) for one in leader.members] == [
        (first, b"1"),
        (second, b"topics"),
    ]
    assert follower.members == []
    assert (leader.protocol_type, leader.protocol_name) == ("consumer", "range")


def test_assignments_are_what_the_leader_said() -> None:
    """Followers wait for the leader's SyncGroup; who is not named in it is assigned nothing."""
    driver = Driver()
    ids = [driver.new_id() for _ in range(3)]
    generation, _ = driver.generation(*(driver.join(one) for one in ids))
    early = driver.sync(ids[1], generation)
    assert early in driver.waiting
    leader = driver.sync(ids[0], generation, {ids[0]: b"p0", ids[1]: b"p1", "nobody": b"p9"})
    late = driver.sync(ids[2], generation)
    assert [driver.synced(ask).assignment for ask in (leader, early, late)] == [b"p0", b"p1", b""]
    assert driver.synced(early).protocol_name == "range"
    stored = driver.coordinator.image.groups[GROUP].classic
    assert stored is not None
    assert [one.assignment for one in stored.members] == [b"p0", b"p1", b""]
    assert (stored.leader, stored.generation, stored.protocol) == (ids[0], generation, "range")


def test_initial_delay_grows_while_members_come() -> None:
    """An empty group waits 3 s, and again as long as new members came meanwhile."""
    driver = Driver(group_initial_delay_ms=3_000)
    ids = [driver.new_id() for _ in range(3)]
    asks = [driver.join(ids[0])]
    driver.sleep(2_000)
    asks.append(driver.join(ids[1]))
    driver.sleep(2_900)
    assert driver.state() == "PreparingRebalance"
    asks.append(driver.join(ids[2]))
    driver.sleep(3_000)
    assert driver.state() == "PreparingRebalance"
    driver.sleep(1_200)
    assert driver.generation(*asks) == (1, ids)


def test_initial_delay_ends_with_the_rebalance_time_out() -> None:
    """However many members still come, the first ones do not wait longer than they allow."""
    driver = Driver(group_initial_delay_ms=3_000)
    asks = []
    for _ in range(7):
        asks.append(driver.join(driver.new_id(), rebalance_ms=6_000))
        driver.sleep(1_000)
        if driver.state() != "PreparingRebalance":
            break
    driver.sleep(100)
    assert len(asks) == 6
    assert driver.joined(asks[0]).generation_id == 1


def test_initial_delay_is_not_cut_short_by_whoever_leaves() -> None:
    """In its first rebalance a group takes its time, though all who are known have joined."""
    driver = Driver(group_initial_delay_ms=3_000)
    ids = [driver.new_id() for _ in range(2)]
    asks = [driver.join(one) for one in ids]
    assert driver.leave((ids[1], None)) == [0]
    assert driver.joined(asks[1]).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert driver.state() == "PreparingRebalance"
    driver.sleep(6_100)
    assert driver.joined(asks[0]).generation_id == 1


def test_a_newcomer_makes_all_join_again() -> None:
    """Members hear of a rebalance by their heartbeats; once all are back it ends at once."""
    driver = Driver()
    generation, ids = driver.a_stable_group()
    newcomer = driver.join(driver.new_id())
    assert driver.state() == "PreparingRebalance"
    assert driver.heartbeat(ids[0], generation) == ErrorCode.REBALANCE_IN_PROGRESS
    asks = [driver.join(one) for one in ids]
    assert driver.joined(newcomer).generation_id == generation + 1
    assert driver.heartbeat(ids[0], generation + 1) == 0
    assert driver.heartbeat(ids[0], generation) == ErrorCode.ILLEGAL_GENERATION
    assert driver.joined(asks[0]).leader == ids[0]


def test_who_does_not_join_again_is_out() -> None:
    """At the rebalance time-out the generation begins without those who are missing."""
    driver = Driver()
    generation, ids = driver.a_stable_group(session_ms=100_000)
    back = driver.join(ids[1], protocols={"range": b"other"}, session_ms=100_000)
    driver.sleep(REBALANCE_MS - 100)
    assert back in driver.waiting
    driver.sleep(200)
    answer = driver.joined(back)
    assert (answer.generation_id, answer.leader) == (generation + 1, ids[1])
    assert [one.member_id for one in answer.members] == [ids[1]]
    assert driver.heartbeat(ids[0], generation) == ErrorCode.UNKNOWN_MEMBER_ID


def test_rebalance_waits_for_ids_that_were_given_out() -> None:
    """Who was given an id is about to join, so the others wait for it, up to its session."""
    driver = Driver()
    generation, ids = driver.a_stable_group(1)
    driver.new_id(session_ms=6_000)
    back = driver.join(ids[0])
    assert back in driver.waiting
    driver.sleep(6_100)
    assert driver.joined(back).generation_id == generation + 1


def test_an_id_that_was_given_out_ends_with_a_session() -> None:
    """Who joins too late by an id is nobody, and a group that had only that needs no memory."""
    driver = Driver()
    member_id = driver.new_id()
    driver.sleep(SESSION_MS + 100)
    assert driver.groups.group(GROUP) is None
    assert driver.state() == "Empty"
    late = driver.joined(driver.join(member_id))
    assert (late.error_code, late.member_id) == (ErrorCode.UNKNOWN_MEMBER_ID, member_id)


def test_leader_that_joins_again_forces_a_rebalance_and_a_follower_does_not() -> None:
    """A leader knows why: topics may have changed. A follower may not have got its answer."""
    driver = Driver()
    generation, ids = driver.a_stable_group()
    again = driver.joined(driver.join(ids[1]))
    assert (again.error_code, again.generation_id, again.members) == (0, generation, [])
    assert driver.state() == "Stable"
    driver.join(ids[0])
    assert driver.state() == "PreparingRebalance"


def test_changed_metadata_makes_a_rebalance() -> None:
    """Who subscribes to something else gets it in the next generation."""
    driver = Driver()
    _, ids = driver.a_stable_group()
    driver.join(ids[1], protocols={"range": b"other topics"})
    assert driver.state() == "PreparingRebalance"


def test_join_again_before_sync_repeats_the_answer() -> None:
    """Between join and sync the same question has the same answer; another one rebalances."""
    driver = Driver()
    ids = [driver.new_id() for _ in range(2)]
    asks = [driver.join(one) for one in ids]
    driver.generation(*asks)
    for ask, member_id in zip(asks, ids, strict=True):
        assert driver.joined(driver.join(member_id)) == driver.joined(ask)
    parked = driver.sync(ids[1], 1)
    driver.join(ids[0], protocols={"range": b"other"})
    assert driver.synced(parked).error_code == ErrorCode.REBALANCE_IN_PROGRESS


def test_whoever_does_not_sync_in_time_is_out() -> None:
    """A member that joined and then says nothing more does not hold up the others for ever."""
    driver = Driver()
    ids = [driver.new_id() for _ in range(2)]
    asks = [driver.join(one, session_ms=200_000, rebalance_ms=8_000) for one in ids]
    driver.generation(*asks)
    follower = driver.sync(ids[1], 1)
    driver.sleep(8_100)
    assert driver.synced(follower).error_code == ErrorCode.REBALANCE_IN_PROGRESS
    assert driver.heartbeat(ids[0], 1) == ErrorCode.UNKNOWN_MEMBER_ID
    assert driver.heartbeat(ids[1], 1) == ErrorCode.REBALANCE_IN_PROGRESS


def test_whoever_does_not_fetch_its_assignment_is_out() -> None:
    """The same once the leader has assigned: its partitions are for others."""
    driver = Driver()
    ids = [driver.new_id() for _ in range(2)]
    asks = [driver.join(one, session_ms=200_000, rebalance_ms=8_000) for one in ids]
    driver.generation(*asks)
    driver.sync(ids[0], 1, {ids[0]: b"0", ids[1]: b"1"})
    assert driver.state() == "Stable"
    driver.sleep(8_100)
    assert driver.heartbeat(ids[1], 1) == ErrorCode.UNKNOWN_MEMBER_ID
    assert driver.heartbeat(ids[0], 1) == ErrorCode.REBALANCE_IN_PROGRESS


def test_silent_member_is_out_and_a_heartbeat_keeps_it() -> None:
    """A session ends with a time-out of silence; each heartbeat begins it anew."""
    driver = Driver()
    generation, ids = driver.a_stable_group()
    for _ in range(5):
        driver.sleep(SESSION_MS - 1_000)
        assert [driver.heartbeat(one, generation) for one in ids] == [0, 0]
    driver.sleep(SESSION_MS - 1_000)
    driver.heartbeat(ids[0], generation)
    driver.sleep(1_100)
    assert driver.heartbeat(ids[0], generation) == ErrorCode.REBALANCE_IN_PROGRESS
    assert driver.heartbeat(ids[1], generation) == ErrorCode.UNKNOWN_MEMBER_ID


def test_members_that_wait_are_kept_alive() -> None:
    """Who waits for others, in join or in sync, cannot heartbeat and is not taken for dead."""
    driver = Driver()
    generation, ids = driver.a_stable_group()
    driver.join(ids[0])
    for _ in range(5):
        driver.sleep(9_000)
        driver.heartbeat(ids[1], generation)
    assert driver.state() == "PreparingRebalance"
    driver.join(ids[1])
    parked = driver.sync(ids[1], generation + 1)
    for _ in range(3):
        driver.sleep(9_000)
        driver.heartbeat(ids[0], generation + 1)
    driver.sync(ids[0], generation + 1)
    assert driver.synced(parked).error_code == 0


def test_leaving_makes_a_rebalance_and_the_last_one_an_empty_group() -> None:
    """What a member had goes to the others; an empty group keeps only what is written."""
    driver = Driver()
    generation, ids = driver.a_stable_group()
    assert driver.leave((ids[0], None)) == [0]
    assert driver.state() == "PreparingRebalance"
    assert driver.heartbeat(ids[0], generation) == ErrorCode.UNKNOWN_MEMBER_ID
    assert driver.leave((ids[1], None)) == [0]
    assert driver.state() == "Empty"
    assert driver.groups.group(GROUP) is None
    stored = driver.coordinator.image.groups[GROUP].classic
    assert stored is not None
    assert (stored.generation, stored.members) == (generation + 1, [])
    assert (stored.protocol_type, stored.protocol, stored.leader) == ("consumer", None, None)
    assert stored.current_state_timestamp == WALL_MS + driver.now_ms
    again, _ = driver.generation(driver.join(driver.new_id()))
    assert again == generation + 2


def test_leaving_answers_for_each_member() -> None:
    """One request may name many: each has its own answer, and one rebalance is enough."""
    driver = Driver()
    _, ids = driver.a_stable_group(2)
    pending = driver.new_id()
    unknown = int(ErrorCode.UNKNOWN_MEMBER_ID)
    codes = driver.leave(("x", None), (pending, None), ("", None), ("", "i"), (ids[0], None))
    assert codes == [unknown, 0, unknown, unknown, 0]
    assert driver.leave((ids[0], None), group="other") == [unknown]
    assert driver.leave() == []


def test_old_versions_leave_alone() -> None:
    """Before version 3 a request is one member's, and its code is the answer's."""
    driver = Driver()
    _, ids = driver.a_stable_group(2)
    for member_id, code in ((ids[0], 0), (ids[0], int(ErrorCode.UNKNOWN_MEMBER_ID))):
        request = LeaveGroupRequest(group_id=GROUP, member_id=member_id)
        answer = driver.answers[driver.ask(request, 2, driver.groups.leave)]
        assert answer == LeaveGroupResponse(error_code=code)


def test_leaving_answers_what_waits() -> None:
    """A JoinGroup or SyncGroup of a member that leaves meanwhile is not left without answer."""
    driver = Driver()
    _, ids = driver.a_stable_group(3)
    parked = driver.join(ids[0])
    driver.leave((ids[0], None))
    answer = driver.joined(parked)
    assert (answer.error_code, answer.member_id) == (ErrorCode.UNKNOWN_MEMBER_ID, "")
    driver.join(ids[1])
    driver.join(ids[2])
    waits = driver.sync(ids[2], 2)
    driver.leave((ids[2], None))
    assert driver.synced(waits).error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_second_question_ends_the_wait_of_the_first() -> None:
    """A client that gave up and asks again gets its answer; what it gave up on is answered."""
    driver = Driver()
    _, ids = driver.a_stable_group(2)
    first, second = driver.join(ids[0]), driver.join(ids[0])
    assert driver.joined(first).error_code == ErrorCode.REBALANCE_IN_PROGRESS
    driver.join(ids[1])
    assert driver.joined(second).generation_id == 2
    first, second = driver.sync(ids[1], 2), driver.sync(ids[1], 2)
    assert driver.synced(first).error_code == ErrorCode.REBALANCE_IN_PROGRESS
    driver.sync(ids[0], 2)
    assert driver.synced(second).error_code == 0


@pytest.mark.parametrize(
    ("preferences", "chosen"),
    [
        ([["a", "b"], ["a", "b"], ["b", "a"]], "a"),
        ([["b", "a"], ["a", "b"], ["b", "a"]], "b"),
        ([["c", "a", "b"], ["b", "a"], ["b", "a"]], "b"),
        ([["c", "a"], ["b", "a"]], "a"),
    ],
)
def test_members_vote_for_a_protocol_that_all_speak(
    preferences: list[list[str]], chosen: str
) -> None:
    """Of what all speak, each votes for what it likes best; the most votes win."""
    driver = Driver(group_initial_delay_ms=3_000)
    asks = []
    for names in preferences:
        spoken = {name: name.encode() for name in names}
        asks.append(driver.join(driver.new_id(protocols=spoken), protocols=spoken))
    driver.sleep(7_000)
    leader = driver.joined(asks[0])
    assert leader.protocol_name == chosen
    assert {one.metadata for one in leader.members} == {chosen.encode()}


def test_any_type_of_member_may_form_a_group_but_not_mixed() -> None:
    """Connect and Streams are told no more than that they are alone with their kind."""
    driver = Driver()
    _, (member_id,) = driver.generation(driver.join(driver.new_id(kind="connect"), kind="connect"))
    for fields in ({}, {"kind": "connect", "protocols": {"other": b""}}, {"kind": ""}):
        answer = driver.joined(driver.join(**fields))
        assert answer.error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    described = driver.groups.describe(GROUP, driver.turn(lambda _: None), 6)
    assert (described.protocol_type, described.group_state) == ("connect", "CompletingRebalance")
    assert [one.member_id for one in described.members] == [member_id]


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": ""},
        {"protocols": {}},
        {"protocols": {f"p{number}": b"" for number in range(101)}},
    ],
)
def test_nothing_to_agree_on_is_refused_and_makes_no_group(fields: dict[str, object]) -> None:
    """A member without a type or a protocol, or with far too many, cannot begin a group."""
    driver = Driver()
    answer = driver.joined(driver.join(**fields))  # type: ignore[arg-type]
    assert answer.error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert driver.state() == "Dead"


def test_what_is_wrong_with_a_join() -> None:
    """No group id, sessions out of bounds, and ids that nobody gave have their codes."""
    driver = Driver()
    for fields, code in (
        ({"group": ""}, ErrorCode.INVALID_GROUP_ID),
        ({"session_ms": 5_999}, ErrorCode.INVALID_SESSION_TIMEOUT),
        ({"session_ms": 1_800_001}, ErrorCode.INVALID_SESSION_TIMEOUT),
        ({"member_id": "invented"}, ErrorCode.UNKNOWN_MEMBER_ID),
    ):
        answer = driver.joined(driver.join(**fields))
        assert (answer.error_code, answer.member_id) == (code, fields.get("member_id", ""))
    driver.a_stable_group()
    answer = driver.joined(driver.join("invented"))
    assert (answer.error_code, answer.protocol_name) == (ErrorCode.UNKNOWN_MEMBER_ID, None)
    pending = driver.new_id()
    answer = driver.joined(driver.join(pending, instance="i"))
    assert answer.error_code == ErrorCode.UNKNOWN_SERVER_ERROR


def test_what_is_wrong_with_a_sync() -> None:
    """Who syncs must be a member of this generation that knows what was agreed on."""
    driver = Driver()
    generation, ids = driver.a_stable_group()
    for ask, code in (
        (driver.sync(ids[0], generation, group=""), ErrorCode.INVALID_GROUP_ID),
        (driver.sync(ids[0], generation, group="other"), ErrorCode.UNKNOWN_MEMBER_ID),
        (driver.sync("invented", generation), ErrorCode.UNKNOWN_MEMBER_ID),
        (driver.sync(ids[0], generation - 1), ErrorCode.ILLEGAL_GENERATION),
        (driver.sync(ids[0], generation, kind="x"), ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        (driver.sync(ids[0], generation, protocol="x"), ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        (driver.sync(ids[0], generation, kind=None), ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        (driver.sync(ids[0], generation, version=4, kind=None, protocol=None), ErrorCode.NONE),
    ):
        assert driver.synced(ask).error_code == code
    driver.join(ids[0])
    answer = driver.synced(driver.sync(ids[1], generation))
    assert answer.error_code == ErrorCode.REBALANCE_IN_PROGRESS


def test_what_is_wrong_with_a_heartbeat() -> None:
    """The same for heartbeats."""
    driver = Driver()
    generation, ids = driver.a_stable_group()
    assert driver.heartbeat(ids[0], generation) == 0
    assert driver.heartbeat(ids[0], generation, group="") == ErrorCode.INVALID_GROUP_ID
    assert driver.heartbeat(ids[0], generation, group="x") == ErrorCode.UNKNOWN_MEMBER_ID
    assert driver.heartbeat("x", generation) == ErrorCode.UNKNOWN_MEMBER_ID
    assert driver.heartbeat(ids[0], generation + 1) == ErrorCode.ILLEGAL_GENERATION
    assert driver.heartbeat(ids[0], generation, instance="x") == ErrorCode.UNKNOWN_MEMBER_ID
