"""A member of a new group: what it says when, and that it gives up before it takes."""

from __future__ import annotations

from mesh.client.membership import BEAT_MS_MIN, JOIN, LEAVE, Membership
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.consumer_group_heartbeat import (
    Assignment,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    TopicPartitions,
)
from tests.mesh.client.builders import TOPIC_ID, at

E = ErrorCode


def answer(
    epoch: int = 1, assigned: list[int] | None = None, code: ErrorCode = E.NONE
) -> ConsumerGroupHeartbeatResponse:
    """An answer every 5 s; without an assignment unless one is set."""
    assignment = None
    if assigned is not None:
        parts = TopicPartitions(topic_id=TOPIC_ID, partitions=assigned)
        assignment = Assignment(topic_partitions=[parts] if assigned else [])
    return ConsumerGroupHeartbeatResponse(
        error_code=code, member_epoch=epoch, heartbeat_interval_ms=5_000, assignment=assignment
    )


def a_member() -> Membership:
    return Membership("g", "m", ["t"], 60_000)


def beat(member: Membership, now_ms: int = 0) -> ConsumerGroupHeartbeatRequest:
    """The heartbeat that is due."""
    request = member.request(at(now_ms))
    assert request is not None
    return request


def told(request: ConsumerGroupHeartbeatRequest) -> list[int] | None:
    """The partitions that a heartbeat says we hold; None if it says nothing of them."""
    if request.topic_partitions is None:
        return None
    return [index for topic in request.topic_partitions for index in topic.partitions]


def holding(*partitions: int) -> Membership:
    """A member that holds these partitions, and has said so."""
    member = a_member()
    beat(member)
    assert member.answered(answer(1, list(partitions)), at(0)) is E.NONE
    member.take()
    beat(member)
    member.answered(answer(1), at(0))
    return member


def test_a_member_joins_with_all_it_has_to_say_and_holds_what_it_is_given() -> None:
    """Epoch 0 with its topics; what it took it says at once, and then only that it lives."""
    member = a_member()
    first = beat(member)
    assert (first.member_epoch, first.subscribed_topic_names) == (JOIN, ["t"])
    assert (told(first), first.rebalance_timeout_ms) == ([], 60_000)
    assert member.request(at(0)) is None  # One at a time.
    member.answered(answer(1, [0, 1]), at(0))
    member.take()
    second = beat(member)
    assert (second.member_epoch, told(second)) == (1, [0, 1])
    assert second.subscribed_topic_names is None
    member.answered(answer(1), at(100))
    assert member.request(at(5_099)) is None
    assert told(beat(member, 5_100)) is None


def test_partitions_are_told_as_given_up_only_once_they_are() -> None:
    """Until `take`, heartbeats go on and the old partitions stay ours."""
    member = holding(0, 1)
    beat(member, 5_000)
    member.answered(answer(2, [0]), at(5_000))
    assert {index for _, index in member.wanted or ()} == {0}
    assert told(beat(member, 10_000)) is None
    member.answered(answer(2), at(10_000))
    member.take()
    assert told(beat(member, 10_000)) == [0]


def test_what_is_taken_while_a_heartbeat_is_on_its_way_is_said_with_the_next() -> None:
    """The answer is to what was said before; so the next one leaves at once."""
    member = holding(0)
    beat(member, 5_000)
    member.answered(answer(2, [0, 1]), at(5_000))
    beat(member, 10_000)
    member.take()
    member.answered(answer(2), at(10_000))
    assert told(beat(member, 10_000)) == [0, 1]


def test_an_assignment_that_is_held_already_is_no_news() -> None:
    """The coordinator repeats itself after an answer that was lost."""
    member = holding(0)
    beat(member, 5_000)
    member.answered(answer(1, [0]), at(5_000))
    assert member.wanted is None


def test_a_fenced_member_joins_anew_without_what_it_held() -> None:
    """Others have it; nothing is sent until its user knows."""
    for code in (E.FENCED_MEMBER_EPOCH, E.UNKNOWN_MEMBER_ID):
        member = holding(0)
        beat(member, 5_000)
        assert member.answered(answer(code=code), at(5_000)) is E.NONE
        assert member.fenced
        assert member.request(at(99_000)) is None
        assert member.leaving() is None
        member.forget()
        request = beat(member, 5_000)
        assert (request.member_epoch, told(request)) == (JOIN, [])


def test_after_a_lost_answer_everything_is_said_again() -> None:
    """The coordinator may be another one, that knows nothing yet."""
    member = holding(0)
    beat(member, 5_000)
    member.lost(at(5_000))
    assert member.request(at(5_000)) is None
    request = beat(member, 5_000 + BEAT_MS_MIN)
    assert (request.member_epoch, told(request)) == (1, [0])
    assert request.subscribed_topic_names == ["t"]


def test_other_errors_end_the_membership() -> None:
    """A group that is full, or not ours to join."""
    member = a_member()
    beat(member)
    code = E.GROUP_MAX_SIZE_REACHED
    assert member.answered(answer(code=code), at(0)) is code


def test_only_a_member_leaves() -> None:
    """Also one whose first answer is still on its way; not one that never said a word."""
    assert a_member().leaving() is None
    member = a_member()
    beat(member)
    leaving = member.leaving()
    assert leaving is not None
    assert (leaving.member_epoch, leaving.member_id) == (LEAVE, "m")


def test_no_coordinator_can_ask_for_a_storm() -> None:
    """An interval of zero is no interval."""
    member = a_member()
    beat(member)
    response = answer(1)
    response.heartbeat_interval_ms = 0
    member.answered(response, at(0))
    assert member.request(at(0)) is None
