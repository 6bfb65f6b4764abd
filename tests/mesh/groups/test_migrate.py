"""Stories of groups that change their protocol: from classic to KIP-848, and back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mesh.groups import Ask, Turn
from mesh.groups.consumer_protocol import assignment_untrusted, subscription_untrusted
from mesh.model.errors import ErrorCode
from mesh.wire import Struct, WireError, encode_stored
from mesh.wire.schemas.consumer_group_heartbeat import ConsumerGroupHeartbeatResponse
from mesh.wire.schemas.heartbeat import HeartbeatRequest, HeartbeatResponse
from mesh.wire.schemas.join_group import (
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
)
from mesh.wire.schemas.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from mesh.wire.schemas.sync_group import (
    SyncGroupRequest,
    SyncGroupRequestAssignment,
    SyncGroupResponse,
)
from mesh.wire.stored.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    ConsumerTopicPartitions,
)
from tests.mesh.groups.consumer_driver import GROUP, Client, Driver, settle


def a_driver(**config: object) -> Driver:
    """Return a coordinator of a mesh with one topic."""
    driver = Driver(**config)  # type: ignore[arg-type]
    driver.topics.add("flights", 6)
    return driver


def put(driver: Driver, body: Struct, version: int, call: Callable[[Ask, Turn], None]) -> Ask:
    """Put a request that may be answered later."""
    ask = Ask(body, version, "old", "/127.0.0.1")
    driver.turn(lambda turn: call(ask, turn))
    return ask


def subscription(driver: Driver, *owned: int, version: int = 1) -> bytes:
    """Return what a consumer of flights says of itself."""
    has = [ConsumerTopicPartitions(topic="flights", partitions=list(owned))] if owned else []
    return encode_stored(
        ConsumerProtocolSubscription(topics=["flights"], owned_partitions=has), version
    )


class Old:
    """A client of the classic protocol."""

    def __init__(self, driver: Driver, member_id: str = "", instance_id: str | None = None) -> None:
        """Not in the group yet."""
        self.driver, self.member_id, self.instance_id = driver, member_id, instance_id
        self.generation = -1
        self.owned: list[int] = []
        self.metadata: bytes | None = None
        self.protocol_type = "consumer"

    def join(self, version: int = 3) -> JoinGroupResponse | None:
        """Send a JoinGroup; None if it waits. Version 3 is let in without asking for an id."""
        metadata = self.metadata
        if metadata is None:
            metadata = subscription(self.driver, *self.owned)
        body = JoinGroupRequest(
            group_id=GROUP,
            session_timeout_ms=30_000,
            rebalance_timeout_ms=60_000,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
            protocol_type=self.protocol_type,
            protocols=[JoinGroupRequestProtocol(name="range", metadata=metadata)],
        )
        self.asked = put(self.driver, body, version, self.driver.coordinator.join)
        self.driver.sleep(60)  # An empty group waits for others, though not for long here.
        return self.joined()

    def joined(self) -> JoinGroupResponse | None:
        """Take the answer to the last JoinGroup, if there is one."""
        answer = self.driver.late.get(self.asked)
        if answer is None:
            return None
        assert isinstance(answer, JoinGroupResponse)
        if not answer.error_code:
            self.member_id, self.generation = answer.member_id, answer.generation_id
        return answer

    def sync(self, assigned: dict[str, list[int]] | None = None, user_data: bytes = b"") -> int:
        """Send a SyncGroup, as the leader with what each member gets; return the error."""
        assignments = [
            SyncGroupRequestAssignment(
                member_id=member_id,
                assignment=encode_stored(
                    ConsumerProtocolAssignment(
                        assigned_partitions=[
                            ConsumerTopicPartitions(topic="flights", partitions=partitions)
                        ],
                        user_data=user_data or None,
                    ),
                    1,
                ),
            )
            for member_id, partitions in (assigned or {}).items()
        ]
        body = SyncGroupRequest(
            group_id=GROUP,
            generation_id=self.generation,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
            assignments=assignments,
        )
        ask = put(self.driver, body, 3, self.driver.coordinator.sync)
        answer = self.driver.late.get(ask)
        if answer is None:
            return ErrorCode.REBALANCE_IN_PROGRESS  # It waits for the leader of a classic group.
        assert isinstance(answer, SyncGroupResponse)
        if not answer.error_code:
            parts = assignment_untrusted(bytes(answer.assignment)).assigned_partitions
            self.owned = [partition for each in parts for partition in each.partitions]
        return answer.error_code

    def beat(self) -> int:
        """Send a Heartbeat; return the error."""
        body = HeartbeatRequest(
            group_id=GROUP,
            generation_id=self.generation,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
        )
        answer = self.driver.late[put(self.driver, body, 3, self.driver.coordinator.heartbeat)]
        assert isinstance(answer, HeartbeatResponse)
        return answer.error_code

    def leave(self, version: int = 3) -> int:
        """Send a LeaveGroup; return the error of its member."""
        identity = MemberIdentity(member_id=self.member_id, group_instance_id=self.instance_id)
        body = LeaveGroupRequest(group_id=GROUP, member_id=self.member_id, members=[identity])
        answer = self.driver.late[put(self.driver, body, version, self.driver.coordinator.leave)]
        assert isinstance(answer, LeaveGroupResponse)
        return answer.members[0].error_code if version >= 3 else answer.error_code

    def go_on(self) -> None:
        """Do what a client does: say that it lives, join again and sync where it is told to."""
        if self.beat() == ErrorCode.REBALANCE_IN_PROGRESS:
            self.join()
            self.sync()


def a_classic(driver: Driver, **sync: bytes) -> Old:
    """Return the only member of a classic group, which has all partitions."""
    old = Old(driver)
    assert old.join() is not None
    assert old.sync({old.member_id: [*range(6)]}, **sync) == 0
    return old


def group_type(driver: Driver) -> str:
    (listed,) = driver.coordinator.list()
    return f"{listed.group_type} {listed.group_state}"


def test_first_new_member_makes_the_group_a_new_one() -> None:
    """The classic member keeps what it has until it gives it up, in its own protocol."""
    driver = a_driver()
    old = a_classic(driver)
    assert group_type(driver) == "classic Stable"
    new = Client(driver, "new", ["flights"])
    assert new.beat().member_epoch == 2
    assert driver.coordinator.image.groups[GROUP].classic is None
    assert group_type(driver) == "consumer Reconciling"
    assert new.owned == {}
    assert old.beat() == ErrorCode.REBALANCE_IN_PROGRESS
    answer = old.join()
    assert answer is not None
    assert (answer.leader, answer.members, answer.protocol_name) == ("", [], "range")
    assert old.sync() == 0
    assert len(old.owned) == 3
    old.go_on()
    new.beat()
    assert sorted([*old.owned, *new.owned[driver.topics.by_name["flights"].topic_id]]) == [
        *range(6)
    ]
    old.go_on()
    assert group_type(driver) == "consumer Stable"


def test_last_new_member_makes_the_group_classic_again() -> None:
    """All classic members are to join again, and one of them leads."""
    driver = a_driver()
    old, new = a_classic(driver), Client(driver, "new", ["flights"])
    for _ in range(4):
        new.beat()
        old.go_on()
    assert new.leave().error_code == 0
    assert driver.groups.group(GROUP) is None
    assert group_type(driver) == "classic PreparingRebalance"
    assert old.beat() == ErrorCode.REBALANCE_IN_PROGRESS
    answer = old.join()
    assert answer is not None
    assert answer.leader == old.member_id
    assert old.sync({old.member_id: [*range(6)]}) == 0
    assert group_type(driver) == "classic Stable"
    driver.start()
    assert old.beat() == 0


def test_group_is_kept_as_it_was_if_it_may_not_be_classic() -> None:
    """By the policy the classic members of a new group are served on as they are."""
    driver = a_driver(consumer_migration="upgrade")
    old, new = a_classic(driver), Client(driver, "new", ["flights"])
    new.beat()
    new.leave()
    old.go_on()
    assert group_type(driver) == "consumer Stable"
    assert len(old.owned) == 6


@pytest.mark.parametrize("policy", ["disabled", "downgrade"])
def test_group_stays_classic_if_it_may_not_be_new(policy: str) -> None:
    """Whoever comes with the new protocol is told why not."""
    driver = a_driver(consumer_migration=policy)
    old = a_classic(driver)
    answer = Client(driver, "new", ["flights"]).beat()
    assert answer.error_code == ErrorCode.GROUP_ID_NOT_FOUND
    assert "online upgrade is disabled" in (answer.error_message or "")
    assert old.beat() == 0


def refused(driver: Driver) -> ConsumerGroupHeartbeatResponse:
    """A new member comes, is refused, and nothing is written."""
    writes = len(driver.log)
    answer = Client(driver, "new", ["flights"]).beat()
    assert answer.error_code == ErrorCode.GROUP_ID_NOT_FOUND
    assert len(driver.log) == writes
    return answer


def test_groups_that_are_not_understood_stay_classic() -> None:
    """Of other protocol types, with metadata that cannot be read, or of an assignor's own."""
    driver = a_driver()
    old = Old(driver)
    old.protocol_type = "connect"
    old.join()
    assert "does not use the consumer embedded protocol" in (refused(driver).error_message or "")

    driver = a_driver()
    old = Old(driver)
    old.metadata = b"\0"
    old.join()
    assert "protocol is malformed" in (refused(driver).error_message or "")

    driver = a_driver()
    a_classic(driver, user_data=b"mine")
    assert "custom assignor" in (refused(driver).error_message or "")

    driver = a_driver(consumer_size_max=1)
    a_classic(driver)
    assert Client(driver, "new", ["flights"]).beat().error_code == ErrorCode.GROUP_MAX_SIZE_REACHED


def test_whoever_waits_in_the_classic_group_asks_again() -> None:
    """Its JoinGroup ends with the group that it was for."""
    driver = a_driver()
    old = a_classic(driver)
    second = Old(driver)
    assert second.join() is None
    Client(driver, "new", ["flights"]).beat()
    answer = second.joined()
    assert answer is not None
    assert answer.error_code == ErrorCode.REBALANCE_IN_PROGRESS
    assert old.beat() == ErrorCode.REBALANCE_IN_PROGRESS


def test_classic_members_join_a_new_group() -> None:
    """Also one without any: what they speak must be a consumer's, and common to them."""
    driver = a_driver()
    new = Client(driver, "new", ["flights"])
    new.beat()
    old = Old(driver)
    ask = old.join(version=4)
    assert ask is not None
    assert ask.error_code == ErrorCode.MEMBER_ID_REQUIRED
    old.member_id = ask.member_id
    assert old.join() is not None
    assert old.sync() == 0
    other = Old(driver)
    other.protocol_type = "connect"
    answer = other.join()
    assert answer is not None
    assert answer.error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    for _ in range(3):
        new.beat()
        old.go_on()
    assert len(old.owned) == 3
    assert group_type(driver) == "consumer Stable"


def test_classic_join_makes_an_empty_new_group_classic() -> None:
    """Its offsets stay; an invented member id does not do it."""
    driver = a_driver()
    new = Client(driver, "new", ["flights"])
    new.beat()
    new.leave()
    stranger = Old(driver, "invented")
    answer = stranger.join()
    assert answer is not None
    assert answer.error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert group_type(driver) == "consumer Empty"
    a_classic(driver)
    assert group_type(driver) == "classic Stable"


def test_static_member_may_come_back_with_the_other_protocol() -> None:
    """It finds what it had; the old id is fenced, and the group changes if it was the last."""
    driver = a_driver()
    old = Old(driver, instance_id="tail-1")
    old.join(version=5)
    old.sync({old.member_id: [*range(6)]})
    new = Client(driver, "new", ["flights"], instance_id="tail-1")
    new.beat()
    assert [len(each) for each in new.owned.values()] == [6]
    assert old.beat() == ErrorCode.FENCED_INSTANCE_ID
    assert group_type(driver) == "consumer Stable"
    again = Old(driver, instance_id="tail-1")
    answer = again.join(version=5)
    assert answer is not None
    assert answer.error_code == 0
    assert again.sync() == 0
    assert len(again.owned) == 6
    assert group_type(driver) == "classic Stable"
    assert new.beat().error_code == ErrorCode.GROUP_ID_NOT_FOUND


def test_classic_member_that_does_not_join_or_sync_is_fenced() -> None:
    """Its rebalance time-out runs from when it was told, or has joined."""
    driver = a_driver(consumer_session_ms=900_000)
    lazy, new = a_classic(driver), Client(driver, "new", ["flights"])
    new.beat()
    for _ in range(8):
        lazy.beat()
        driver.sleep(8_000)
    assert lazy.beat() == ErrorCode.UNKNOWN_MEMBER_ID
    forgetful = Old(driver)
    forgetful.join()
    for _ in range(8):
        forgetful.beat()
        driver.sleep(8_000)
    assert forgetful.beat() == ErrorCode.UNKNOWN_MEMBER_ID
    settle([new])
    assert group_type(driver) == "consumer Stable"


def test_requests_of_classic_members_are_checked() -> None:
    """Generation, id, instance and protocol, with the codes of the classic protocol."""
    driver = a_driver()
    old, new = a_classic(driver), Client(driver, "new", ["flights"])
    new.beat()
    old.generation += 5
    assert old.beat() == ErrorCode.ILLEGAL_GENERATION
    assert old.sync() == ErrorCode.ILLEGAL_GENERATION
    old.generation -= 5
    assert old.sync() == ErrorCode.REBALANCE_IN_PROGRESS
    stranger = Old(driver, "stranger")
    assert stranger.beat() == ErrorCode.UNKNOWN_MEMBER_ID
    as_new = Old(driver, "new")
    assert as_new.beat() == ErrorCode.UNKNOWN_MEMBER_ID, "it does not speak that protocol"
    assert stranger.leave() == ErrorCode.UNKNOWN_MEMBER_ID
    assert stranger.leave(version=1) == ErrorCode.UNKNOWN_MEMBER_ID
    broken = Old(driver)
    broken.metadata = b""
    answer = broken.join()
    assert answer is not None
    assert answer.error_code == ErrorCode.UNKNOWN_SERVER_ERROR
    assert old.leave() == 0
    settle([new])
    assert group_type(driver) == "consumer Stable"


def test_administrators_may_remove_new_members_by_the_classic_request() -> None:
    """RemoveMembersFromConsumerGroup has no other."""
    driver = a_driver()
    new = Client(driver, "new", ["flights"])
    new.beat()
    assert Old(driver, "new").leave() == 0
    assert group_type(driver) == "consumer Empty"
    assert new.beat().error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_consumers_metadata_is_read_whatever_its_version() -> None:
    """What a newer version adds is not looked at; what ends too early is refused."""
    data = encode_stored(
        ConsumerProtocolSubscription(topics=["a"], generation_id=7, rack_id="left"), 3
    )
    assert subscription_untrusted(data).rack_id == "left"
    newer = (9).to_bytes(2, "big") + data[2:] + b"more"
    assert subscription_untrusted(newer).generation_id == 7
    assert subscription_untrusted(bytes(2) + data[2:]).generation_id == -1
    for broken in (b"", b"\0", b"\xff\xff" + data[2:], data[:9]):
        with pytest.raises(WireError):
            subscription_untrusted(broken)
