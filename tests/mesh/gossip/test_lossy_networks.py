"""Where datagrams get lost all is asked again, and nobody is found dead for it."""

from __future__ import annotations

import random

import cbor2
import pytest

from mesh.gossip import LAN, Effect, Gossip, Known, Me, Member, Send, State, Value
from mesh.gossip.detector import LAST_QUESTIONS, TRIES
from mesh.gossip.messages import PING
from simulations.gossip_mesh import GossipMesh
from simulations.net import Link, Network
from simulations.world import World

SECOND = 1_000_000


def alone_among(count: int) -> Gossip:
    """A member that knows others, none of which will answer."""
    maps: dict[int, dict[str, Value]] = {n: {"peer": f"host-{n}:1"} for n in range(1, count + 1)}
    known = Known({n: Member(n, 1, 0, State.ALIVE, 1, maps[n]) for n in maps})
    me = Me(cluster_id=bytes(16), node_id=1, start=1, entries=maps[1])
    return Gossip(me, LAN, random.Random(1), 0, known=known)


def pings(effects: list[Effect]) -> list[str]:
    """Return who is pinged."""
    sent = [effect for effect in effects if isinstance(effect, Send)]
    return [send.to for send in sent if cbor2.loads(send.data)[0] == PING]


@pytest.mark.parametrize(("loss_share", "expected"), [(0.0, 1), (0.3, TRIES)])
def test_a_probe_asks_again_where_datagrams_get_lost(loss_share: float, expected: int) -> None:
    """One ping without loss; with it up to three, evenly in the time that the probe has."""
    gossip = alone_among(2)
    gossip._context.loss_share = loss_share
    asked = []
    while gossip.wake_at_ms <= LAN.probe_interval_ms + LAN.probe_timeout_ms:
        now_ms = gossip.wake_at_ms
        asked += [now_ms for _ in pings(gossip.woken(now_ms))]
        if len(asked) == expected:
            break
    assert len(asked) == expected
    assert asked == [asked[0] + n * LAN.probe_timeout_ms // TRIES for n in range(expected)]


@pytest.mark.parametrize(("loss_share", "expected"), [(0.0, 0), (0.3, LAST_QUESTIONS)])
def test_a_suspect_is_asked_before_it_is_found_dead(loss_share: float, expected: int) -> None:
    """Where datagrams get lost a suspect hears what it is suspected of until the very end."""
    gossip = alone_among(2)
    while gossip.state_of(2) is not State.SUSPECT:
        gossip.woken(gossip.wake_at_ms)
    gossip._context.loss_share = loss_share
    suspicion = gossip._detector.suspicions[2]
    member = gossip.member(2)
    assert member is not None
    gossip._detector.accuse(member, {9: 100}, gossip.wake_at_ms)
    told = []
    while gossip.state_of(2) is State.SUSPECT:
        now_ms = gossip.wake_at_ms
        for effect in gossip.woken(now_ms):
            if isinstance(effect, Send):
                found = cbor2.loads(effect.data)
                if found[0] == PING and found[4] == 0:  # It is no probe.
                    assert found[7][0][3] == State.SUSPECT
                    told.append(now_ms)
    assert len(told) == expected
    if told:
        gap_ms = LAN.suspicion_ms_min // (2 * LAST_QUESTIONS)
        assert told == [suspicion.due_ms - n * gap_ms for n in range(expected, 0, -1)]


@pytest.mark.parametrize("loss", [0.1, 0.25])
def test_a_network_that_loses_a_quarter_kills_nobody(loss: float) -> None:
    """Where a quarter of all datagrams is lost, nobody is found dead, at few messages more."""
    world = World(3)
    mesh = GossipMesh(world, Network(world, Link(loss=loss)))
    mesh.add_agreed(100)
    dead = set()
    mesh.watchers.append(
        lambda _, change: (
            dead.add(change.after.node_id) if change.after.state is State.DEAD else None
        )
    )
    world.run_until(30 * SECOND)
    assert dead == set()
    assert mesh.datagrams_sent / 3_000 < 6


def test_a_crash_is_found_in_a_lossy_network() -> None:
    """One that has crashed is dead for all there, too, and soon."""
    world = World(3)
    mesh = GossipMesh(world, Network(world, Link(loss=0.25)))
    mesh.add_agreed(50)
    world.run_until(10 * SECOND)
    mesh.crash(7)
    world.run_until(20 * SECOND)
    states = {
        node.machine.state_of(7) for node in mesh.nodes.values() if isinstance(node.machine, Gossip)
    }
    assert states == {State.DEAD}
