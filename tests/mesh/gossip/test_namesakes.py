"""Two processes under one node id: who was known first stays, and both are told."""

from __future__ import annotations

import random

import cbor2
import pytest

from mesh.gossip import LAN, Gossip, Me, Member, Refused, Send, State
from mesh.gossip.messages import CLASHES, NEWS, REFUSE, encode_full, tag_of, with_items

CLUSTER_ID = bytes(range(16))


def news_of(member: Member) -> bytes:
    head = (NEWS, tag_of(CLUSTER_ID), 7, 1, 0, 0, 0, ())
    return with_items(cbor2.dumps(head), [encode_full(member)])


def member_two(start: int, directory: bytes, address: str) -> Member:
    return Member(2, start, 0, State.ALIVE, 1, {"peer": address, "directory": directory * 16})


def knowing(member: Member) -> Gossip:
    me = Me(cluster_id=CLUSTER_ID, node_id=1, start=1, entries={"peer": "one:1"})
    gossip = Gossip(me, LAN, random.Random(1), 0)
    gossip.received(news_of(member), "seven:1", 1)
    assert gossip.member(2) == member
    return gossip


@pytest.mark.parametrize("start", [1, 99])
def test_another_directory_takes_no_live_member_s_place(start: int) -> None:
    """Whatever start it counts, it changes nothing here, and it and the other are told."""
    first = member_two(1, b"a", "two:1")
    gossip = knowing(first)
    effects = gossip.received(news_of(member_two(start, b"b", "stranger:1")), "seven:1", 2)
    assert gossip.member(2) == first
    told = [e for e in effects if isinstance(e, Send) and cbor2.loads(e.data)[0] == REFUSE]
    assert [send.to for send in told] == ["stranger:1", "two:1"]
    assert {cbor2.loads(send.data)[6] for send in told} == {CLASHES}
    assert [e.source for e in effects if isinstance(e, Refused)] == ["stranger:1", "two:1"]
    again = gossip.received(news_of(member_two(start, b"b", "stranger:1")), "seven:1", 3)
    assert again == []


def test_the_same_directory_starts_anew() -> None:
    """A restart is a higher start of the same directory: it is believed at once."""
    gossip = knowing(member_two(1, b"a", "two:1"))
    after = member_two(2, b"a", "two:9")
    gossip.received(news_of(after), "seven:1", 2)
    assert gossip.member(2) == after


def test_a_dead_member_s_place_may_be_taken() -> None:
    """Who is dead keeps nobody out; whether the id is theirs is for the registry to say."""
    gossip = knowing(member_two(1, b"a", "two:1")._replace(state=State.DEAD))
    after = member_two(2, b"b", "stranger:1")
    gossip.received(news_of(after), "seven:1", 2)
    assert gossip.member(2) == after
