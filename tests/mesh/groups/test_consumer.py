"""Stories of groups by KIP-848: who joins, what it is told, and which heartbeats are refused."""

from __future__ import annotations

import pytest

from mesh.groups import Turn
from mesh.groups.consumer_image import MemberState
from mesh.model.errors import ErrorCode
from mesh.model.limits import PATTERN_LENGTH_MAX
from mesh.wire.schemas.consumer_group_describe import DescribedGroup
from mesh.wire.schemas.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest as Heartbeat
from mesh.wire.schemas.consumer_group_heartbeat import TopicPartitions
from mesh.wire.schemas.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from mesh.wire.schemas.offset_fetch import OffsetFetchRequestGroup
from mesh.wire.stored.groups import GroupMetadataKey, GroupMetadataValue
from tests.mesh.groups.consumer_driver import GROUP, Client, Driver, settle


def a_driver(**config: object) -> Driver:
    """Return a coordinator of a mesh with two topics."""
    driver = Driver(**config)  # type: ignore[arg-type]
    driver.topics.add("flights", 6)
    driver.topics.add("planes", 2)
    return driver


def some(driver: Driver, count: int, names: list[str] | None = None) -> list[Client]:
    """Return members that have settled."""
    clients = [Client(driver, f"m{number}", names or ["flights"]) for number in range(count)]
    settle(clients)
    return clients


def joining(**fields: object) -> Heartbeat:
    """Return a first heartbeat."""
    plain = {
        "group_id": GROUP,
        "member_id": "m",
        "member_epoch": 0,
        "rebalance_timeout_ms": 60_000,
        "subscribed_topic_names": ["flights"],
    }
    return Heartbeat(**{**plain, **fields})  # type: ignore[arg-type]


def state(driver: Driver) -> str:
    group = driver.groups.group(GROUP)
    return "none" if group is None else group.state


def described(driver: Driver, group_id: str = GROUP) -> DescribedGroup:
    found: list[DescribedGroup] = []
    driver.turn(lambda turn: found.append(driver.groups.describe(group_id, turn)))
    return found[0]


def readers(clients: list[Client]) -> dict[str, int]:
    return {client.member_id: sum(map(len, client.owned.values())) for client in clients}


def test_first_member_gets_all_with_its_first_answer() -> None:
    """Nobody has to give anything up for it."""
    driver = a_driver()
    client = Client(driver, "one", ["flights", "planes"])
    answer = client.beat()
    assert (answer.error_code, answer.member_id, answer.member_epoch) == (0, "one", 2)
    assert answer.heartbeat_interval_ms == driver.config.consumer_heartbeat_ms
    assert readers([client]) == {"one": 8}
    assert state(driver) == "Stable"


def test_assignment_is_said_only_when_it_changes_or_is_asked_for() -> None:
    """A heartbeat that changes nothing is a number; a full one is answered in full."""
    driver = a_driver()
    client = Client(driver, "one", ["flights"])
    client.beat()
    writes = len(driver.log)
    assert client.beat(say=False).assignment is None
    assert client.beat().assignment is None
    full = joining(member_id="one", member_epoch=2)
    assert driver.beat(full).assignment is not None
    assert len(driver.log) == writes


def test_newcomer_waits_until_others_have_given_up() -> None:
    """Its partitions come when their owner says that it no longer has them."""
    driver = a_driver()
    first, second = Client(driver, "one", ["flights"]), Client(driver, "two", ["flights"])
    first.beat()
    assert second.beat().assignment is not None
    assert readers([first, second]) == {"one": 6, "two": 0}
    assert first.beat().member_epoch == 2, "told to give up, still at the old epoch"
    group = driver.groups.group(GROUP)
    assert group is not None
    assert group.members["one"].state == MemberState.UNREVOKED
    second.beat()
    assert readers([first, second])["two"] == 0
    assert first.beat().member_epoch == 3
    second.beat()
    assert readers([first, second]) == {"one": 3, "two": 3}
    assert state(driver) == "Stable"


def test_who_keeps_what_it_must_give_up_is_fenced() -> None:
    """After its rebalance time-out a member is out, and what it had goes to the others."""
    driver = a_driver(consumer_session_ms=900_000)
    slow, other = Client(driver, "slow", ["flights"]), Client(driver, "other", ["flights"])
    slow.beat()
    other.beat()
    slow.beat()
    driver.sleep(59_000)
    assert slow.beat(say=False).error_code == 0
    driver.sleep(2_000)
    assert slow.beat(say=False).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    settle([other])
    assert readers([other]) == {"other": 6}


def test_silent_member_is_fenced() -> None:
    """Whoever is not heard of for the session time-out is out; a heartbeat in time is enough."""
    driver = a_driver()
    quiet, loud = some(driver, 2)
    for _ in range(4):
        driver.sleep(driver.config.consumer_session_ms // 3)
        loud.beat()
    settle([loud])
    assert readers([loud]) == {"m1": 6}
    assert quiet.beat().error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert quiet.epoch == 0
    settle([quiet, loud])
    assert readers([quiet, loud]) == {"m0": 3, "m1": 3}


def test_who_leaves_gives_all_to_the_others() -> None:
    """A last heartbeat with epoch -1; the last member leaves an empty group behind."""
    driver = a_driver()
    one, two = some(driver, 2)
    answer = one.leave()
    assert (answer.error_code, answer.member_epoch) == (0, -1)
    settle([two])
    assert readers([two]) == {"m1": 6}
    two.leave()
    assert state(driver) == "Empty"
    driver.turn(lambda turn: driver.groups.delete(GROUP, turn))
    assert driver.coordinator.image.state() == {}


def test_static_member_that_comes_back_finds_what_it_had() -> None:
    """Epoch -2 keeps its partitions for it, whatever its new member id is."""
    driver = a_driver()
    static = Client(driver, "s1", ["flights"], instance_id="tail-1")
    others = [Client(driver, "m1", ["flights"]), Client(driver, "m2", ["flights"])]
    settle([static, *others])
    had, epochs = dict(static.owned), [one.epoch for one in others]
    assert static.leave(-2).member_epoch == -2
    settle(others, rounds=3)
    assert [one.epoch for one in others] == epochs, "nobody was disturbed"
    back = Client(driver, "s2", ["flights"], instance_id="tail-1")
    back.beat()
    assert back.owned == had
    assert state(driver) == "Stable"


def test_instance_id_belongs_to_one_member() -> None:
    """While it is there nobody else may have its id; once it is replaced, it is fenced."""
    driver = a_driver()
    first = Client(driver, "s1", ["flights"], instance_id="tail-1")
    first.beat()
    second = Client(driver, "s2", ["flights"], instance_id="tail-1")
    assert second.beat().error_code == ErrorCode.UNRELEASED_INSTANCE_ID
    epoch = first.epoch
    first.leave(-2)
    second.beat()
    first.epoch = epoch
    assert first.beat().error_code == ErrorCode.FENCED_INSTANCE_ID
    assert second.beat().error_code == 0
    unknown = Client(driver, "s3", ["flights"], instance_id="tail-9", epoch=2)
    assert unknown.beat().error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_static_member_that_stays_away_is_fenced() -> None:
    """Its partitions are kept for as long as a silent member's."""
    driver = a_driver()
    static = Client(driver, "s1", ["flights"], instance_id="tail-1")
    other = Client(driver, "m1", ["flights"])
    settle([static, other])
    static.leave(-2)
    for _ in range(4):
        driver.sleep(driver.config.consumer_session_ms // 3)
        other.beat()
    settle([other])
    assert readers([other]) == {"m1": 6}


def test_lost_answer_is_given_again() -> None:
    """A member one epoch late that has no more than it may is told again; another one is out."""
    driver = a_driver()
    one, two = some(driver, 2)
    old_epoch, had = one.epoch, dict(one.owned)
    two.leave()
    one.beat()
    assert one.epoch == old_epoch + 1
    one.epoch, one.owned = old_epoch, had
    assert one.beat().error_code == 0
    assert one.epoch == old_epoch + 1
    one.epoch -= 2
    assert one.beat().error_code == ErrorCode.FENCED_MEMBER_EPOCH
    one.epoch = 99
    assert one.beat().error_code == ErrorCode.FENCED_MEMBER_EPOCH


@pytest.mark.parametrize(
    ("fields", "version", "code"),
    [
        ({"member_id": ""}, 1, ErrorCode.INVALID_REQUEST),
        ({"member_id": "", "member_epoch": 1}, 0, ErrorCode.INVALID_REQUEST),
        ({"group_id": " "}, 1, ErrorCode.INVALID_REQUEST),
        ({"instance_id": ""}, 1, ErrorCode.INVALID_REQUEST),
        ({"rack_id": ""}, 1, ErrorCode.INVALID_REQUEST),
        ({"rebalance_timeout_ms": -1}, 1, ErrorCode.INVALID_REQUEST),
        ({"topic_partitions": None}, 1, ErrorCode.INVALID_REQUEST),
        ({"topic_partitions": [TopicPartitions()]}, 1, ErrorCode.INVALID_REQUEST),
        ({"subscribed_topic_names": None}, 1, ErrorCode.INVALID_REQUEST),
        ({"member_epoch": -2}, 1, ErrorCode.INVALID_REQUEST),
        ({"member_epoch": -3}, 1, ErrorCode.INVALID_REQUEST),
        ({"server_assignor": "mine"}, 1, ErrorCode.UNSUPPORTED_ASSIGNOR),
        ({"member_id": "m" * 40_000}, 1, ErrorCode.INVALID_REQUEST),
        ({"group_id": "g" * 40_000}, 1, ErrorCode.INVALID_REQUEST),
        ({"member_epoch": 5}, 1, ErrorCode.GROUP_ID_NOT_FOUND),
        ({"member_epoch": -1}, 1, ErrorCode.GROUP_ID_NOT_FOUND),
        ({"subscribed_topic_regex": "(a"}, 1, ErrorCode.INVALID_REGULAR_EXPRESSION),
        ({"subscribed_topic_regex": r"(a)\1"}, 1, ErrorCode.INVALID_REGULAR_EXPRESSION),
        ({"subscribed_topic_regex": "((a{99}){99}){99}"}, 1, ErrorCode.INVALID_REGULAR_EXPRESSION),
        (
            {"subscribed_topic_regex": "a" * (PATTERN_LENGTH_MAX + 1)},
            1,
            ErrorCode.INVALID_REGULAR_EXPRESSION,
        ),
    ],
)
def test_refused_heartbeats(fields: dict[str, object], version: int, code: ErrorCode) -> None:
    """Kafka's code, and nothing is written."""
    driver = a_driver()
    answer = driver.beat(joining(**fields), version)
    assert answer.error_code == code
    assert answer.error_message
    assert driver.log == []


def test_unknown_members_of_a_group_that_is_there() -> None:
    """A member that was never seen, or is gone, starts again from epoch 0."""
    driver = a_driver()
    some(driver, 1)
    for epoch in (1, -1):
        answer = driver.beat(joining(member_id="other", member_epoch=epoch))
        assert answer.error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_version_0_gets_an_id() -> None:
    """Its members did not make ids themselves."""
    driver = a_driver()
    answer = driver.beat(joining(member_id=""), 0)
    assert answer.error_code == 0
    assert answer.member_id is not None
    assert len(answer.member_id) == 22


def test_full_group_takes_nobody() -> None:
    """Who is in it stays, and may join again."""
    driver = a_driver(consumer_size_max=2)
    some(driver, 2)
    full = driver.beat(joining(member_id="third"))
    assert full.error_code == ErrorCode.GROUP_MAX_SIZE_REACHED
    assert driver.beat(joining(member_id="m0")).error_code == 0


def test_topics_that_grow_come_and_go_are_noticed() -> None:
    """With the next heartbeat, whoever's it is; nobody has to subscribe again."""
    driver = a_driver()
    clients = some(driver, 2, ["flights", "later"])
    driver.topics.add("flights", 8)
    settle(clients)
    assert readers(clients) == {"m0": 4, "m1": 4}
    driver.topics.add("later", 4)
    settle(clients)
    assert readers(clients) == {"m0": 6, "m1": 6}
    driver.topics.drop("flights")
    settle(clients)
    assert readers(clients) == {"m0": 2, "m1": 2}


def test_topics_of_others_change_nothing() -> None:
    """A group whose topics are as they were keeps its epoch."""
    driver = a_driver()
    (client,) = some(driver, 1)
    epoch = client.epoch
    driver.topics.add("something", 4)
    settle([client])
    assert client.epoch == epoch


def test_patterns_match_whole_names() -> None:
    """The first answer is empty, since names are looked through behind it, not before."""
    driver = a_driver()
    driver.topics.add("my-flights", 1)
    client = Client(driver, "one", regex="fl.*|pl")
    assert readers([client]) == {"one": 0}
    settle([client])
    assert readers([client]) == {"one": 6}
    group = driver.groups.group(GROUP)
    assert group is not None
    assert group.resolved["fl.*|pl"].topics == ("flights",)
    assert group.subscribes_to("flights")
    assert not group.subscribes_to("planes")


def test_new_topics_that_match_are_found_after_ten_seconds() -> None:
    """Not sooner, so that a thousand new topics do not cost a thousand looks."""
    driver = a_driver()
    client = Client(driver, "one", regex=".*")
    settle([client])
    driver.topics.add("more", 5)
    settle([client], rounds=3)
    assert readers([client]) == {"one": 8}
    driver.sleep(10_000)
    settle([client])
    assert readers([client]) == {"one": 13}


def test_pattern_that_nobody_has_any_more_is_forgotten() -> None:
    """Its record goes with its last member."""
    driver = a_driver()
    clients = [Client(driver, f"m{number}", regex=".*") for number in range(2)]
    settle(clients)
    clients[0].leave()
    group = driver.groups.group(GROUP)
    assert group is not None
    assert ".*" in group.resolved
    clients[1].leave()
    assert not group.resolved
    assert not group.subscribes_to("flights")


def test_many_names_are_looked_through_in_several_turns() -> None:
    """No turn holds more names against patterns than its bound, and none is forgotten."""
    driver = Driver(replays=False)
    for number in range(15_000):
        driver.topics.add(f"t{number}", 1)
    clients = [Client(driver, f"m{number}", regex=f"t.*[{number}]") for number in range(4)]
    for client in clients[:1]:
        client.beat()
        driver.sleep(100)
    driver.sleep(11_000)
    for client in clients[1:]:
        client.beat()
    driver.sleep(11_000)
    clients[0].beat()
    turns = 0
    while driver.groups.is_resolving(GROUP):
        driver.sleep(50)
        turns += 1
        assert turns < 20
    assert turns >= 2
    group = driver.groups.group(GROUP)
    assert group is not None
    assert {len(found.topics) for found in group.resolved.values()} == {1500}


def test_assignor_with_most_votes_wins() -> None:
    """The default is the first one of the configuration."""
    driver = a_driver()
    clients = [Client(driver, f"m{n}", ["flights"], assignor="range") for n in range(2)]
    settle(clients)
    assert described(driver).assignor_name == "range"
    assert [sorted(*client.owned.values()) for client in clients] == [[0, 1, 2], [3, 4, 5]]


def test_targets_are_computed_once_an_interval() -> None:
    """Members that come meanwhile wait for the next computation."""
    driver = a_driver(consumer_assignment_ms=1_000)
    first, second = Client(driver, "one", ["flights"]), Client(driver, "two", ["flights"])
    first.beat()
    second.beat()
    assert state(driver) == "Assigning"
    first.beat()
    assert readers([first]) == {"one": 6}
    driver.sleep(1_000)
    settle([first, second])
    assert readers([first, second]) == {"one": 3, "two": 3}


def test_described_group_names_what_members_have_and_are_to_have() -> None:
    """By the names of topics; unknown groups, and classic ones, are not found."""
    driver = a_driver()
    some(driver, 2)
    group = described(driver)
    assert (group.group_state, group.group_epoch, group.assignment_epoch) == ("Stable", 3, 3)
    assert [member.member_type for member in group.members] == [1, 1]
    for member in group.members:
        (has,), (target,) = (
            each.topic_partitions for each in (member.assignment, member.target_assignment)
        )
        assert (has.topic_name, has.partitions) == ("flights", target.partitions)
    unknown = described(driver, "nobody")
    assert unknown.error_code == ErrorCode.GROUP_ID_NOT_FOUND
    assert unknown.error_message == "Group nobody not found."


def test_empty_classic_group_becomes_a_new_one() -> None:
    """What it committed stays; its own record goes."""
    driver = a_driver()
    value = GroupMetadataValue(protocol_type="consumer", generation=4)
    driver.turn(lambda turn: turn.write(GroupMetadataKey(group=GROUP), value))
    assert described(driver).error_message == f"Group {GROUP} is not a consumer group."
    refused = driver.beat(joining(member_epoch=3))
    assert refused.error_code == ErrorCode.GROUP_ID_NOT_FOUND
    assert driver.beat(joining()).error_code == 0
    assert driver.coordinator.image.groups[GROUP].classic is None


def commit(epoch: int, *partitions: int, member_id: str = "m0") -> OffsetCommitRequest:
    wanted = [OffsetCommitRequestPartition(partition_index=index) for index in partitions]
    return OffsetCommitRequest(
        group_id=GROUP,
        member_id=member_id,
        generation_id_or_member_epoch=epoch,
        topics=[OffsetCommitRequestTopic(name="flights", partitions=wanted)],
    )


def check_commit(driver: Driver, body: OffsetCommitRequest, version: int = 9) -> ErrorCode | None:
    found: list[ErrorCode | None] = []
    driver.turn(lambda turn: found.append(driver.groups.check_commit(body, version, turn)))
    return found[0]


def test_members_commit_with_their_epoch_or_one_that_had_the_partition() -> None:
    """A late commit counts for what was its member's already at that epoch (KIP-1251)."""
    driver = a_driver()
    one, two = some(driver, 2)
    (kept,) = one.owned.values()
    taken = set(range(6)) - kept
    two.leave()
    settle([one])
    assert one.epoch == 4
    assert check_commit(driver, commit(4, *range(6))) is None
    assert check_commit(driver, commit(3, *kept)) is None
    assert check_commit(driver, commit(3, *kept, *taken)) == ErrorCode.STALE_MEMBER_EPOCH
    assert check_commit(driver, commit(5)) == ErrorCode.STALE_MEMBER_EPOCH
    assert check_commit(driver, commit(4), 8) == ErrorCode.UNSUPPORTED_VERSION
    assert check_commit(driver, commit(4, member_id="m1")) == ErrorCode.UNKNOWN_MEMBER_ID
    assert check_commit(driver, commit(-1, member_id="")) == ErrorCode.UNKNOWN_MEMBER_ID
    one.leave()
    assert check_commit(driver, commit(-1, member_id="")) is None


def test_members_fetch_offsets_with_their_epoch() -> None:
    """Or say nothing of themselves, as administrators do."""
    driver = a_driver()
    (one,) = some(driver, 1)

    def check(member_id: str | None, epoch: int) -> ErrorCode | None:
        return driver.groups.check_fetch(
            OffsetFetchRequestGroup(group_id=GROUP, member_id=member_id, member_epoch=epoch)
        )

    assert check(None, -1) is None
    assert check("m0", one.epoch) is None
    assert check("m0", 1) == ErrorCode.STALE_MEMBER_EPOCH
    assert check("m9", 1) == ErrorCode.UNKNOWN_MEMBER_ID


def test_new_coordinator_waits_for_members_as_long_as_the_old_one() -> None:
    """Sessions, and what is left to give up, run from when it begins."""
    driver = a_driver()
    one, two = some(driver, 2)
    third = Client(driver, "m2", ["flights"])
    third.beat()
    one.beat()
    driver.start()
    driver.sleep(44_000)
    assert two.beat().error_code == 0
    driver.sleep(2_000)
    assert one.beat().error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert third.beat().error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_heartbeats_without_news_write_nothing_and_add_no_timers() -> None:
    """A thousand of them cost the wheel one look."""
    driver = a_driver()
    clients = some(driver, 3)
    writes = len(driver.log)
    for _ in range(1_000):
        clients[0].beat(say=False)
    assert len(driver.log) == writes
    assert sum(map(len, driver.wheel._slots.values())) < 20


def test_timers_of_one_look_may_undo_each_other() -> None:
    """What fires in the same look as what cancelled or moved it does nothing, or fires later."""
    driver = a_driver()
    timers = driver.groups.timers
    fired: list[str] = []

    def first(turn: Turn) -> None:
        fired.append("first")
        timers.cancel(GROUP, "b", "sync")
        timers.set(GROUP, "c", "sync", 500, turn, None)

    driver.turn(lambda turn: timers.set(GROUP, "a", "sync", 40, turn, first))
    driver.turn(lambda turn: timers.set(GROUP, "b", "sync", 45, turn))
    driver.turn(lambda turn: timers.set(GROUP, "c", "sync", 45, turn))
    looked = driver.now_ms + 100
    driver.now_ms = looked
    for _, call in driver.wheel.due(looked):
        driver.turn(call)
    assert fired == ["first"]
    assert (GROUP, "c", "sync") in timers._timers
    driver.sleep(1_000)
    assert (GROUP, "c", "sync") not in timers._timers


def test_who_subscribes_alike_is_asked_when_a_member_changes() -> None:
    """As with Kafka, not when only the topics behind a pattern do: else targets would differ."""
    driver = a_driver()
    clients = [Client(driver, "named", ["flights"]), Client(driver, "by-pattern", regex="pl.*")]
    settle(clients)
    group = driver.groups.group(GROUP)
    assert group is not None
    assert not group.alike
    clients[1].leave()
    assert not group.alike, "its pattern was forgotten after it"
    clients[0].beat()
    settle([clients[0]])
    assert group.alike
