"""Whoever asks for much is answered where it is known to be, or not at all."""

from __future__ import annotations

import random

import cbor2

from mesh.gossip import LAN, Gossip, Known, Me, Member, Send, State
from mesh.gossip.member import PEER
from mesh.gossip.messages import WANT, tag_of


def a_gossip(members: int) -> Gossip:
    known = Known(
        {
            node_id: Member(node_id, 1, 0, State.ALIVE, 1, {PEER: f"10.0.0.{node_id}:1"})
            for node_id in range(1, members + 1)
        }
    )
    me = Me(cluster_id=bytes(16), node_id=1, start=1, entries={PEER: "10.0.0.1:1"})
    return Gossip(me, LAN, random.Random(1), 0, known=known)


def wanted(sender: int, view_hash: int) -> bytes:
    head = (WANT, tag_of(bytes(16)), sender, 1, 0, view_hash, 0)
    return cbor2.dumps((*head, list(range(1, 200))))


def test_a_spoofed_source_gets_nothing_of_it() -> None:
    """The maps go to the member's own address, bounded, wherever the question came from."""
    gossip = a_gossip(200)
    effects = gossip.received(wanted(7, gossip.view_hash), "192.0.2.1:53", 5)
    sent = [effect for effect in effects if isinstance(effect, Send)]
    assert {send.to for send in sent} == {"10.0.0.7:1"}
    assert sum(len(send.data) for send in sent) < 8_000


def test_a_stranger_gets_nothing_of_it() -> None:
    """Who is not known is asked who it is, with less than it sent."""
    gossip = a_gossip(20)
    question = wanted(99, gossip.view_hash)
    effects = gossip.received(question, "192.0.2.1:53", 60)
    sent = [effect for effect in effects if isinstance(effect, Send)]
    assert sum(len(send.data) for send in sent) < len(question)
