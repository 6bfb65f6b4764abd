"""What a machine tells of its evidence: who accuses whom, and who told it what."""

from __future__ import annotations

import cbor2

from mesh.gossip import LAN, Changed, Doubted, Gossip, State
from mesh.gossip.detector import MISSES_MIN
from mesh.gossip.member import UNREACHED
from mesh.gossip.messages import NEWS, encode_record, tag_of, with_items
from tests.mesh.gossip.test_endings import CLUSTER_ID, a_gossip, joined
from tests.mesh.gossip.test_lossy_networks import alone_among


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


def test_that_all_are_reached_again_is_told_at_once() -> None:
    """Whom it does not reach a node tells once in a while, and takes it back with its next probe.

    A node that came back within seconds left the mesh unhealthy for 30 s.
    """
    one = alone_among(2)
    told: list[tuple[int, bool]] = []
    for now_ms in range(0, 70_000, LAN.probe_interval_ms):
        # It comes and goes: away for 5 s of each 10.
        one._detector.misses = {2: MISSES_MIN} if now_ms % 10_000 < 5_000 else {}
        one._tell_unreached(now_ms)
        said = UNREACHED in one.picture(now_ms).members[0].member.entries
        if said != (told[-1][1] if told else False):
            told.append((now_ms, said))
    assert told == [(30_000, True), (35_000, False), (60_000, True), (65_000, False)]


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
