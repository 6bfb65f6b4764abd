"""The membership machine: who gives node ids, what people hear, and what a node tells of itself."""

from __future__ import annotations

import random

import pytest

from mesh.gossip import LOCAL, NOT_ASKED, Call, Effect, Gossip, JoinFailed, Me, Send
from mesh.gossip.joining import (
    Answer,
    Claim,
    Given,
    Refer,
    Refused,
    Wait,
    encode_claim,
    parse_answer,
)
from mesh.gossip.member import DISK_FREE, DRAINING, LOAD, PEER, SYNC_MS
from mesh.gossip.syncer import CALLS_MAX
from mesh.node.membership import RETRY_MS, Membership, RefusedClaimError

CLAIM = encode_claim(Claim(b"d" * 16, 1, 1, "0.1.0"))


class Ids:
    """Gives ids after having been asked so often."""

    def __init__(self, waits: int = 0, fault: str | None = None) -> None:
        self.waits = waits
        self.fault = fault

    def claim(self, directory_id: bytes, wanted: int | None) -> int | None:
        if self.fault is not None:
            raise RefusedClaimError(self.fault)
        self.waits -= 1
        return None if self.waits >= 0 else wanted or 2 + len(set(directory_id))


def a_membership(node_id: int = 1, ids: Ids | None = None) -> tuple[Membership, list[str]]:
    me = Me(
        cluster_id=bytes(16), node_id=node_id, start=1, entries={PEER: f"10.0.0.{node_id}:9093"}
    )
    told: list[str] = []
    gossip = Gossip(me, LOCAL, random.Random(node_id), 0)
    note = lambda kind, text: told.append(f"{kind}: {text}")  # noqa: E731
    return Membership(gossip, me.cluster_id, ids, note, 0), told


def answer_of(membership: Membership, data: bytes = CLAIM) -> Answer:
    answer, effects = membership.called(data, "10.0.0.9:1", 0)
    assert effects == []
    assert answer is not None
    return parse_answer(answer)


def pass_on(effects: list[Effect], source: Membership, target: Membership) -> None:
    """Carry out one machine's messages at another, and the answers at the first."""
    for effect in effects:
        if isinstance(effect, Send):
            pass_on(target.received(effect.data, "x:1", 5), target, source)
        elif isinstance(effect, Call):
            answer, more = target.called(effect.data, "x:1", 5)
            pass_on(more, target, source)
            pass_on(source.answered(effect.call_id, answer, 5), source, target)


def test_the_founder_gives_an_id_once_it_is_durable() -> None:
    """Until the registry has it the claimer is asked to wait; then it is given, again and again."""
    founder, _ = a_membership(ids=Ids(waits=2))
    assert [answer_of(founder) for _ in range(4)] == [
        Wait(),
        Wait(),
        Given(bytes(16), 3),
        Given(bytes(16), 3),
    ]


def test_others_refer_to_the_founder() -> None:
    """A member that knows the founder names it; one that does not, or knows it dead, says so."""
    founder, _ = a_membership(ids=Ids())
    member, told = a_membership(2)
    assert isinstance(answer_of(member), Refused)
    pass_on(member.join(("10.0.0.1:9093",), 5), member, founder)
    assert member.joined
    assert answer_of(member) == Refer("10.0.0.1:9093")
    assert told == ["member_joined: node 1 at 10.0.0.1:9093", "joined: through 10.0.0.1:9093"]


def test_a_claim_that_cannot_be_given_is_refused_in_words() -> None:
    """A registry that takes no claim, another version, and no claim at all."""
    assert answer_of(a_membership(ids=Ids(fault="the disk is full"))[0]) == Refused(
        "the disk is full"
    )
    newer = encode_claim(Claim(b"d" * 16, 5, 6, "9"))
    found = answer_of(a_membership(ids=Ids())[0], newer)
    assert isinstance(found, Refused)
    assert "versions 5 to 6" in found.text
    assert a_membership(ids=Ids())[0].called(CLAIM[:-3], "x:1", 0) == (None, [])


def test_a_member_that_finds_nobody_tries_again() -> None:
    """It says whom it asked, and asks them again after some time, for ever."""
    member, told = a_membership(2)
    for round_ms in (0, RETRY_MS, 2 * RETRY_MS):
        if round_ms:
            assert member.wake_at_ms <= round_ms
            effects = member.woken(round_ms)
        else:
            effects = member.join(("10.0.0.1:9093",), 0)
        (call,) = [effect for effect in effects if isinstance(effect, Call)]
        failed = member.answered(call.call_id, None, round_ms)
        assert any(isinstance(effect, JoinFailed) for effect in failed)
    assert told == ["alone: the mesh is not found: 10.0.0.1:9093 does not answer"] * 3
    assert not member.joined


def test_a_join_that_could_not_be_asked_is_tried_again() -> None:
    """With too many calls under way it fails in words, at once; later it is asked all the same."""
    member, told = a_membership(2)
    for _ in range(CALLS_MAX):
        member.gossip.join(["10.0.0.9:9093"], 0)
    member.join(("10.0.0.1:9093",), 0)
    assert told == [f"alone: the mesh is not found: 10.0.0.1:9093 {NOT_ASKED}"]
    member.gossip.answered(1, None, 1)
    asked = [e.to for e in member.woken(RETRY_MS) if isinstance(e, Call)]
    assert "10.0.0.1:9093" in asked


@pytest.mark.parametrize(
    ("cpu_ms", "load"), [(0, 1), (400, 1), (40_000, 100), (8_000, 25)], ids=str
)
def test_load_is_rounded_up_to_steps(cpu_ms: int, load: int) -> None:
    """An idle node stays on one step and writes nothing; a busy one tells about how busy."""
    membership, _ = a_membership(ids=Ids())

    def tell(now_ms: int) -> list[Effect]:
        return membership.tell_of_itself(
            now_ms, cpu_ms=cpu_ms, disk_free_share=0.517, append_p99_ms=None, sync_p99_ms=5.0
        )

    assert not membership.is_time_to_tell(5_000)
    assert membership.is_time_to_tell(10_000)
    assert tell(10_000)
    member = membership.gossip.member(1)
    assert member is not None
    told = {name: member.entries[name] for name in (LOAD, DISK_FREE, SYNC_MS)}
    assert told == {LOAD: load, DISK_FREE: 50, SYNC_MS: 8}
    if load == 1:
        assert tell(20_000) == []


def test_a_node_that_stops_says_so() -> None:
    """Draining stands in the map before the process ends."""
    membership, _ = a_membership(ids=Ids())
    assert membership.drain(5)
    member = membership.gossip.member(1)
    assert member is not None
    assert member.entries[DRAINING] is True
