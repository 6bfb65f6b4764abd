"""What classic groups tell others, what a restart keeps of them, and what bounds them."""

from __future__ import annotations

import struct

import pytest

from mesh.groups.classic_group import subscription_untrusted
from mesh.model.errors import ErrorCode
from mesh.model.limits import GROUP_RECORD_BYTES_MAX
from mesh.wire.schemas.offset_commit import OffsetCommitRequest
from mesh.wire.stored.groups import OffsetCommitKey, OffsetCommitValue
from tests.mesh.groups.classic_driver import GROUP, SESSION_MS, WALL_MS, Driver


def commit(
    driver: Driver,
    member_id: str = "",
    generation: int = -1,
    *,
    instance: str | None = None,
    group: str = GROUP,
    version: int = 9,
) -> int | None:
    """Ask whether a commit passes."""
    body = OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=generation,
        member_id=member_id,
        group_instance_id=instance,
    )
    found: list[int | None] = []
    driver.turn(lambda turn: found.append(driver.groups.check_commit(group, body, turn, version)))
    return found[0]


def subscription(*topics: str, version: int = 3, tail: bytes = b"\xff\xff\xff\xff") -> bytes:
    """A consumer's metadata."""
    parts = [struct.pack("!hi", version, len(topics))]
    parts += [struct.pack("!h", len(one.encode())) + one.encode() for one in topics]
    return b"".join(parts) + tail


def test_who_may_commit() -> None:
    """Members of this generation; others only while nobody is a member (G44, S6)."""
    driver = Driver()
    assert commit(driver) is None
    assert commit(driver, "x", 1) == ErrorCode.GROUP_ID_NOT_FOUND
    assert commit(driver, "x", 1, version=8) == ErrorCode.ILLEGAL_GENERATION
    generation, ids = driver.a_stable_group()
    assert commit(driver) == ErrorCode.UNKNOWN_MEMBER_ID
    assert commit(driver, "x", generation) == ErrorCode.UNKNOWN_MEMBER_ID
    assert commit(driver, ids[0], generation) is None
    assert commit(driver, ids[0], generation - 1) == ErrorCode.ILLEGAL_GENERATION
    assert commit(driver, ids[0], generation, instance="i") == ErrorCode.UNKNOWN_MEMBER_ID
    driver.join(ids[0])
    assert commit(driver, ids[1], generation) is None, "before it joins again"
    driver.join(ids[1])
    assert driver.state() == "CompletingRebalance"
    assert commit(driver, ids[0], generation + 1) == ErrorCode.REBALANCE_IN_PROGRESS
    driver.leave(*((one, None) for one in ids))
    assert driver.state() == "Empty"
    assert commit(driver) is None
    assert commit(driver, ids[0], generation) == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_commit_keeps_a_member_alive() -> None:
    """As with Kafka, who commits need not heartbeat."""
    driver = Driver()
    generation, (member_id,) = driver.a_stable_group(1)
    for _ in range(3):
        driver.sleep(SESSION_MS - 1_000)
        assert commit(driver, member_id, generation) is None
    assert driver.heartbeat(member_id, generation) == 0


def test_described_with_what_each_state_shows() -> None:
    """Metadata is shown of a stable group only; a group that is not there is a dead one."""
    driver = Driver()
    turn = driver.turn(lambda _: None)
    missing = driver.groups.describe("missing", turn, 6)
    assert (missing.error_code, missing.group_state) == (ErrorCode.GROUP_ID_NOT_FOUND, "Dead")
    assert missing.error_message is not None
    assert driver.groups.describe("missing", turn, 5).error_code == 0
    _, ids = driver.a_stable_group()
    stable = driver.groups.describe(GROUP, turn, 6)
    assert (stable.group_state, stable.protocol_type) == ("Stable", "consumer")
    assert stable.protocol_data == "range"
    assert [(one.member_id, one.member_metadata, one.member_assignment) for one in stable.members]
    assert {one.member_assignment for one in stable.members} == {one.encode() for one in ids}
    assert {(one.client_id, one.client_host) for one in stable.members} == {("app", "/127.0.0.1")}
    driver.join(ids[0])
    rebalancing = driver.groups.describe(GROUP, turn, 6)
    assert (rebalancing.group_state, rebalancing.protocol_data) == ("PreparingRebalance", "")
    assert {one.member_metadata for one in rebalancing.members} == {b""}
    driver.leave(*((one, None) for one in ids))
    empty = driver.groups.describe(GROUP, turn, 6)
    assert (empty.group_state, empty.protocol_type, empty.members) == ("Empty", "consumer", [])


def test_stable_group_outlives_its_coordinator() -> None:
    """A new coordinator knows the last generation; its members' sessions run from then on."""
    driver = Driver()
    generation, ids = driver.a_stable_group()
    driver.sleep(SESSION_MS - 1_000)
    driver.start()
    assert driver.state() == "Stable"
    driver.sleep(SESSION_MS - 1_000)
    assert [driver.heartbeat(one, generation) for one in ids] == [0, 0]
    answer = driver.synced(driver.sync(ids[1], generation))
    assert answer.assignment == ids[1].encode()
    driver.sleep(SESSION_MS + 100)
    assert driver.state() == "Empty"


def test_rebalance_under_way_is_forgotten_with_its_coordinator() -> None:
    """What nobody was assigned is not written, so members join the last generation again."""
    driver = Driver()
    generation, ids = driver.a_stable_group()
    parked = driver.join(ids[0])
    driver.start()
    assert driver.dropped == [parked]
    assert [driver.heartbeat(one, generation) for one in ids] == [0, 0]
    asks = [driver.join(one) for one in ids]
    assert driver.generation(*asks)[0] == generation + 1
    driver.start()
    assert driver.heartbeat(ids[0], generation + 1) == ErrorCode.ILLEGAL_GENERATION


def test_group_over_a_new_size_rebalances_when_it_is_loaded() -> None:
    """A smaller group.max.size takes hold: whoever joins again too late is out."""
    driver = Driver()
    _, ids = driver.a_stable_group(3)
    driver.config = driver.config.__class__(group_size_max=2)
    driver.start()
    assert driver.state() == "PreparingRebalance"
    first, second, third = [driver.join(one) for one in ids]
    assert driver.joined(third).error_code == ErrorCode.GROUP_MAX_SIZE_REACHED
    assert [driver.joined(ask).error_code for ask in (first, second)] == [0, 0]


def test_full_group_takes_nobody_but_its_members() -> None:
    """group.max.size counts members, and in a rebalance those who have joined."""
    driver = Driver(group_size_max=2)
    _, ids = driver.a_stable_group(2)
    answer = driver.joined(driver.join())
    assert (answer.error_code, answer.member_id) == (ErrorCode.GROUP_MAX_SIZE_REACHED, "")
    assert driver.joined(driver.join(ids[1])).error_code == 0


def test_too_large_an_assignment_is_refused() -> None:
    """What would not fit into a record reaches nobody; the members begin anew."""
    driver = Driver()
    ids = [driver.new_id() for _ in range(2)]
    driver.generation(*(driver.join(one) for one in ids))
    follower = driver.sync(ids[1], 1)
    leader = driver.sync(ids[0], 1, {ids[0]: bytes(GROUP_RECORD_BYTES_MAX)})
    codes = {driver.synced(ask).error_code for ask in (leader, follower)}
    assert codes == {ErrorCode.UNKNOWN_SERVER_ERROR}
    assert driver.state() == "PreparingRebalance"


def test_metadata_of_a_group_is_bounded() -> None:
    """Members that come with megabytes are refused once there are too many of these."""
    driver = Driver()
    huge = {"range": bytes(6 << 20)}
    codes = [driver.joined(driver.join(protocols=huge)).error_code]
    for _ in range(3):
        ask = driver.join(version=3, protocols=huge)
        codes.append(driver.joined(ask).error_code if ask in driver.answers else 0)
    assert codes == [ErrorCode.MEMBER_ID_REQUIRED, 0, 0, ErrorCode.GROUP_MAX_SIZE_REACHED]


def test_long_ids_of_clients_make_no_long_member_ids() -> None:
    """A member's id must fit into a record, whatever its instance is called."""
    driver = Driver()
    ask = driver.join(instance="i" * 30_000)
    generation, (member_id,) = driver.generation(ask)
    assert len(member_id) < 300
    assert driver.synced(driver.sync(member_id, generation, {})).error_code == 0


def test_ids_that_are_given_out_are_bounded() -> None:
    """Whoever asks for ids and never joins cannot take all of the memory."""
    driver = Driver()
    driver.new_id()
    group = driver.groups.group(GROUP)
    assert group is not None
    alarm = next(iter(group.pending.values()))
    group.pending.update({f"m{number}": alarm for number in range(9_999)})
    assert driver.joined(driver.join()).error_code == ErrorCode.GROUP_MAX_SIZE_REACHED


def test_what_consumers_subscribe_to() -> None:
    """Metadata of consumers is read for their topics; of others, or broken, nobody can tell."""
    driver = Driver()
    protocols = {"range": subscription("a", "b")}
    _, ids = driver.a_stable_group(2, protocols=protocols)
    assert driver.groups.subscribed_topics(GROUP) == frozenset("ab")
    assert driver.groups.is_subscribed(GROUP, "a")
    assert not driver.groups.is_subscribed(GROUP, "c")
    assert driver.groups.check_offset_delete(GROUP) is None
    driver.start()
    assert driver.groups.subscribed_topics(GROUP) == frozenset("ab")
    driver.leave(*((one, None) for one in ids))
    driver.sleep(100)
    assert driver.groups.subscribed_topics(GROUP) == frozenset()
    driver = Driver()
    driver.a_stable_group()
    assert driver.groups.subscribed_topics(GROUP) is None
    assert driver.groups.is_subscribed(GROUP, "anything")


def test_other_types_of_members_hold_all_offsets() -> None:
    """What Connect reads nobody knows, so nothing of it may go while it has members."""
    driver = Driver()
    member_id = driver.new_id(kind="connect")
    driver.generation(driver.join(member_id, kind="connect"))
    assert not driver.groups.is_subscribed(GROUP, "a")
    assert driver.groups.check_offset_delete(GROUP) == ErrorCode.NON_EMPTY_GROUP
    assert driver.groups.check_offset_delete("missing") == ErrorCode.GROUP_ID_NOT_FOUND
    driver.leave((member_id, None))
    driver.sleep(100)
    assert driver.groups.check_offset_delete(GROUP) is None


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"\x00\x00\x00",
        subscription(version=-1),
        b"\x00\x00\xff\xff\xff\xff",
        b"\x00\x00\x7f\xff\xff\xff",
        b"\x00\x00\x00\x00\x00\x01\xff\xff",
        b"\x00\x00\x00\x00\x00\x01\x00\x05abc",
        b"\x00\x00\x00\x00\x00\x01\x00\x01\xff",
    ],
)
def test_broken_metadata_is_found_out(metadata: bytes) -> None:
    """Anything may come as metadata; none of it breaks more than itself."""
    with pytest.raises(ValueError, match=r"metadata|utf-8"):
        subscription_untrusted(metadata)


def test_since_when_offsets_are_not_needed() -> None:
    """From the commit without members ever, from when it became empty with them (G44)."""
    driver = Driver()
    key = OffsetCommitKey(group=GROUP, topic="a", partition=0)
    driver.turn(lambda turn: turn.write(key, OffsetCommitValue(offset=1, commit_timestamp=5)))
    assert driver.groups.idle_since_ms(GROUP, "a", 5) == 5
    _, ids = driver.a_stable_group(1, protocols={"range": subscription("a")})
    assert driver.groups.idle_since_ms(GROUP, "a", 5) is None
    assert driver.groups.idle_since_ms(GROUP, "b", 5) == 5
    driver.join(ids[0])
    assert driver.groups.idle_since_ms(GROUP, "b", 5) is None
    driver.leave((ids[0], None))
    driver.sleep(1_000)
    since_ms = driver.groups.idle_since_ms(GROUP, "a", 5)
    assert since_ms is not None
    assert WALL_MS < since_ms <= WALL_MS + driver.now_ms


def test_deleted_group_is_gone() -> None:
    """Its tombstone is written once; ids that were given out for it are nobody's."""
    driver = Driver()
    _, ids = driver.a_stable_group(1)
    driver.leave((ids[0], None))
    driver.sleep(100)
    pending = driver.new_id()
    assert driver.groups.is_empty(GROUP)
    turn = driver.turn(lambda turn: driver.groups.delete(GROUP, turn))
    assert [record.value for record in turn.records] == [None]
    assert driver.state() == "Dead"
    assert driver.joined(driver.join(pending)).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    turn = driver.turn(lambda turn: driver.groups.delete(GROUP, turn))
    assert turn.records == []


def test_statistics_count_members_and_rebalances() -> None:
    """What metrics show; a group without members costs nothing beside its record."""
    driver = Driver()
    _, ids = driver.a_stable_group(2)
    found = driver.groups.statistics()
    assert (found.members, found.groups) == (2, 1)
    assert found.rebalances >= 1
    assert driver.groups.member_count(GROUP) == 2
    driver.leave(*((one, None) for one in ids))
    driver.sleep(100)
    found = driver.groups.statistics()
    assert (found.members, found.groups) == (0, 0)
