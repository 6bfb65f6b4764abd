"""Processes that take time: their sockets and turns, and how plain SWIM goes on after a block."""

from __future__ import annotations

import cbor2
import pytest

from mesh.gossip import Effect, Send, State
from simulations.experiments.counting import false_positives
from simulations.experiments.process import RECEIVE_US, SEND_US, SOCKET_BYTES, held_bytes
from simulations.experiments.trial import Starved, Trial
from simulations.plain_swim import DEAD_NEWS, PING, SUSPECT, PlainSwim

PINGED = cbor2.dumps([[PING, 9, 1]])


def _plain(count: int) -> PlainSwim:
    """Member 1 of so many, all of whom it knows."""
    trial = Trial(7, "plain")
    trial.agreed(count)
    machine = trial.mesh.nodes[1].machine
    assert isinstance(machine, PlainSwim)
    return machine


def _sent(effects: list[Effect]) -> list[list[list[object]]]:
    return [cbor2.loads(effect.data) for effect in effects if isinstance(effect, Send)]


def test_a_short_free_time_lets_a_member_take_in_only_part_of_its_backlog() -> None:
    """Of 100 pings that wait, it answers in 1 ms those it has the CPU for; the rest later."""
    trial = Trial(1, "plain")
    trial.agreed(2)
    trial.block([1], 0, 500, 1, 2_004)
    trial.run_until(100)
    node = trial.mesh.nodes[1]
    for _ in range(100):
        trial.mesh._deliver(node, PINGED, trial.mesh.nodes[2].address)
    trial.run_until(499)
    assert trial.mesh.waiting(1) >= 100
    before = trial.mesh.waiting(1)
    trial.run_until(600)
    once = 1_000 // (RECEIVE_US + SEND_US) + 1
    assert before - once <= trial.mesh.waiting(1) <= before - once + 3


def test_a_socket_holds_what_linux_lets_it_and_drops_what_comes_after() -> None:
    """The kernel counts more than the data; a backlog beyond that is lost, the newest first."""
    assert held_bytes(60) == 768
    assert held_bytes(1_400) == 2_304
    trial = Trial(1, "plain")
    trial.agreed(2)
    trial.block([1], 0, 60_000, 1, 60_001)
    trial.run_until(1)
    fits = SOCKET_BYTES // held_bytes(len(PINGED))
    for _ in range(fits + 5):
        trial.mesh._deliver(trial.mesh.nodes[1], PINGED, "10.0.0.2:9093")
    assert trial.mesh.waiting(1) == fits
    assert trial.mesh.dropped == 5


def test_goroutines_go_on_with_one_send_each() -> None:
    """The prober sends its late ping, asks three helpers, and only then suspects anybody."""
    machine = _plain(8)
    machine.stall(0)
    at_ms = machine.wake_at_ms
    while at_ms < 10_000:
        machine.woken(at_ms)
        at_ms = machine.wake_at_ms
    assert set(machine.live()) == set(range(1, 9))
    machine.unstall(10_000)
    for _ in range(4):
        effects, more = machine.step("probe", 10_000)
        assert len(_sent(effects)) == 1
        assert more
        assert all(machine.state_of(node_id) is State.ALIVE for node_id in range(1, 9))
    machine.step("probe", 10_000)
    states = [machine.state_of(node_id) for node_id in range(1, 9)]
    assert states.count(State.SUSPECT) == 1


def test_news_in_hand_goes_out_first_after_a_block() -> None:
    """A gossiper caught in a send still sends what it had taken, though that is old by then."""
    machine = _plain(8)
    suspicion = cbor2.dumps([[SUSPECT, 5, 0, 2]])
    machine.received(suspicion, "10.0.0.2:9093", 0)
    machine.stall(0)
    machine.woken(300)
    machine.received(cbor2.dumps([[DEAD_NEWS, 5, 0, 2]]), "10.0.0.2:9093", 400)
    machine.unstall(500)
    told = []
    more = True
    while more:
        effects, more = machine.step("gossip", 500)
        told += [[message[0] for message in datagram] for datagram in _sent(effects)]
    assert told == [[SUSPECT], [DEAD_NEWS], [DEAD_NEWS]]


def test_a_starved_process_answers_in_its_turn() -> None:
    """A core shared with 128 others comes round each 516 ms, for 4 ms; nothing goes out between."""
    trial = Trial(1, "plain")
    trial.agreed(20)
    trial.starve([1], 0, 60_000, Starved())
    at_us: list[int] = []
    trial.mesh.after_event.append(
        lambda node: at_us.append(trial.world.now_us) if node.node_id == 1 else None
    )
    trial.run_until(20_000)
    rhythm = trial.mesh.nodes[1].rhythm
    assert rhythm is not None
    phases = {(at - rhythm.begin_us) % 516_000 for at in at_us if at >= rhythm.begin_us}
    assert phases
    assert all(phase >= 512_000 for phase in phases)


def test_who_needs_more_cpu_than_its_share_falls_behind() -> None:
    """At once what comes is taken in; at twenty times the need the socket fills and drops."""
    left = {}
    for need in (1, 40):
        trial = Trial(1, "plain")
        trial.agreed(40)
        trial.starve([1], 0, 60_000, Starved(factor=need))
        trial.run_until(60_000)
        left[need] = trial.mesh.waiting(1)
    assert left[1] < 20
    assert left[40] > 100


@pytest.mark.slow
def test_one_starved_member_is_enough_for_plain_swim_and_not_for_ours() -> None:
    """What Lifeguard's first figure shows: with plain SWIM healthy members are held dead."""
    found = {}
    for machine in ("plain", "gossamer"):
        trial = Trial(1, machine)
        trial.agreed(100)
        trial.starve([7], 1_000, 180_000, Starved(factor=20))
        trial.run_until(180_000)
        found[machine], _ = false_positives(trial.deaths, [7])
    assert found["plain"] > 10
    assert found["gossamer"] == 0
