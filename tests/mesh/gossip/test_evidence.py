"""What a machine tells of its evidence: who accuses whom, and who told it what."""

from __future__ import annotations

import cbor2

from mesh.gossip import Changed, Doubted, Gossip, State
from mesh.gossip.messages import NEWS, encode_record, tag_of, with_items
from tests.mesh.gossip.test_endings import CLUSTER_ID, a_gossip, joined


def two_that_know_each_other() -> Gossip:
    one, two = a_gossip(1), a_gossip(2)
    joined(two, one, 0)
    return one


def test_each_new_accuser_is_told_and_who_told_of_it() -> None:
    """A suspicion names all that could not reach its subject; the same again is no news."""
    one = two_that_know_each_other()
    member = one.member(2)
    assert member is not None
    suspected = member._replace(state=State.SUSPECT)
    told = []
    for accusers in ({3: 100}, {3: 100, 4: 50}, {4: 50}):
        head = cbor2.dumps((NEWS, tag_of(CLUSTER_ID), 3, 1, 0, 0, 0, ()))
        data = with_items(head, [encode_record(suspected, accusers)])
        effects = one.received(data, "third:1", 10)
        told += [effect for effect in effects if isinstance(effect, Changed | Doubted)]
    assert told == [
        Changed(member, suspected, "third:1"),
        Doubted(2, {3: 100}),
        Doubted(2, {3: 100, 4: 50}),
    ]


def test_what_a_node_finds_itself_nobody_told() -> None:
    """A death after probes of its own has no other source."""
    one = two_that_know_each_other()
    found = []
    while one.state_of(2) is not State.DEAD:
        found += [e for e in one.woken(one.wake_at_ms) if isinstance(e, Changed | Doubted)]
        for call_id in list(one._syncer._calls):
            one.answered(call_id, None, one.wake_at_ms)
    states = [e.after.state if isinstance(e, Changed) else dict(e.accusers) for e in found]
    assert states == [State.SUSPECT, {1: 100}, State.DEAD]
    assert not any(effect.told_by for effect in found if isinstance(effect, Changed))
