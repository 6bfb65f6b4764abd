"""Only its owner changes a map: what others put in its place does not last."""

from __future__ import annotations

import random

import cbor2

from mesh.gossip import LAN, Gossip, Me, Member, Send, State, Value
from mesh.gossip.messages import COUNT_MAX, NEWS, encode_full, tag_of, with_items

CLUSTER_ID = bytes(range(16))
ENTRIES: dict[str, Value] = {"peer": "two:1", "rack": "mine"}


def news_of(*members: Member) -> bytes:
    head = (NEWS, tag_of(CLUSTER_ID), 7, 1, 0, 0, 0, ())
    return with_items(cbor2.dumps(head), [encode_full(member) for member in members])


def a_gossip() -> Gossip:
    """Node 2, which knows node 7."""
    me = Me(cluster_id=CLUSTER_ID, node_id=2, start=1, entries=ENTRIES)
    gossip = Gossip(me, LAN, random.Random(1), 0)
    gossip.received(news_of(Member(7, 1, 0, State.ALIVE, 1, {"peer": "seven:1"})), "seven:1", 1)
    return gossip


def forged(version: int) -> bytes:
    return news_of(Member(2, 1, 0, State.ALIVE, version, {**ENTRIES, "rack": "forged"}))


def test_an_owner_outbids_a_map_that_it_never_wrote() -> None:
    """It tells its own map under a higher version, or all it writes would go unheard for ever."""
    gossip = a_gossip()
    gossip.woken(1_000)
    effects = gossip.received(forged(50), "seven:1", 5_000)
    mine = gossip.member(2)
    assert mine is not None
    assert (mine.version, mine.entries["rack"]) == (51, "mine")
    (told,) = [e for e in effects if isinstance(e, Send) and cbor2.loads(e.data)[0] == NEWS]
    assert cbor2.loads(told.data)[7] == [cbor2.loads(encode_full(mine))]
    assert gossip.received(forged(50), "seven:1", 5_001) == []


def test_a_version_that_none_is_above_is_let_be() -> None:
    """The highest number there is cannot be outbid; nothing is told that nobody could read."""
    gossip = a_gossip()
    gossip.received(forged(COUNT_MAX), "seven:1", 2)
    mine = gossip.member(2)
    assert mine is not None
    assert mine.version == 1
