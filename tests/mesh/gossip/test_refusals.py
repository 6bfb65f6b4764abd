"""What machines of two meshes say to one another, and to people."""

from __future__ import annotations

import cbor2
import pytest

from mesh.gossip import Effect, Refused, Send, Sought, State
from mesh.gossip.messages import ACK, FOREIGN, NEWS, PING, REFUSE, encode_full, tag_of, with_items
from mesh.gossip.refusals import REFUSALS_MAX, REFUSALS_MS
from tests.mesh.gossip.test_endings import CLUSTER_ID, a_gossip, joined

OTHER_TAG = tag_of(bytes(16))


def told(effects: list[Effect]) -> list[Effect]:
    return [effect for effect in effects if not isinstance(effect, Send)]


def a_datagram(kind: int, target: int) -> bytes:
    return cbor2.dumps((kind, OTHER_TAG, 7, 1, 0, 0, target, ()))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            PING,
            [Refused("h:7", "is of another mesh, and looks here for its node 4"), Sought(4, "h:7")],
        ),
        (ACK, [Refused("h:7", "is of another mesh")]),
        (NEWS, [Refused("h:7", "is of another mesh")]),
    ],
)
def test_only_a_ping_of_another_mesh_seeks_a_member(kind: int, expected: list[Effect]) -> None:
    """It tells whom that mesh takes this node for; told once in a while, and refused each time."""
    one = a_gossip(1)
    assert told(one.received(a_datagram(kind, 4), "h:7", 5)) == expected
    assert told(one.received(a_datagram(kind, 4), "h:7", REFUSALS_MS)) == []
    assert told(one.received(a_datagram(kind, 4), "h:7", 5 + REFUSALS_MS)) == expected
    assert one.picture(0).counters["refused: is of another mesh"] == 3


def test_strangers_make_nothing_grow() -> None:
    """However many there are, and whomever they look for: one counter, and a bound on the rest."""
    one = a_gossip(1)
    for number in range(2 * REFUSALS_MAX):
        one.received(a_datagram(PING, number), f"h:{number}", 5)
    assert list(one.picture(0).counters) == ["refused: is of another mesh"]
    assert one.load["refusals"] == REFUSALS_MAX


@pytest.mark.parametrize("state", [State.ALIVE, State.DEAD])
def test_a_stranger_at_a_dead_members_address_is_told_apart(state: State) -> None:
    """Whoever reads it learns which member was there: its data directory may be lost."""
    one, two = a_gossip(1), a_gossip(2)
    joined(two, one, 0)
    member = one.member(2)
    assert member is not None
    head = cbor2.dumps((NEWS, tag_of(CLUSTER_ID), 3, 1, 0, 0, 0, ()))
    news = with_items(head, [encode_full(member._replace(state=state))])
    one.received(news, "third:1", 5)
    refusal = cbor2.dumps((REFUSE, 0, 9, 1, 0, 0, FOREIGN, ()))
    (refused,) = told(one.received(refusal, member.address, 10))
    assert isinstance(refused, Refused)
    assert ("node 2 of this one was there" in refused.reason) is (state is State.DEAD)
