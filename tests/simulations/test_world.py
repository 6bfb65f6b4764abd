"""The virtual world: the same seed is the same run, and its faults do what they are named for."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from mesh.gossip import LAN, Changed, Gossip, State
from simulations.gossip_mesh import GossipMesh, Rhythm, VirtualNode
from simulations.net import Link, Network
from simulations.purity import ImpureError, guarded
from simulations.world import World, provenance

SECOND = 1_000_000


def a_mesh(seed: int = 1, count: int = 12, link: Link | None = None) -> GossipMesh:
    world = World(seed)
    mesh = GossipMesh(world, Network(world, link))
    mesh.add_agreed(count)
    return mesh


def a_busy_run(seed: int) -> str:
    """Return the trace hash of a run in which much happens."""
    link = Link(loss=0.1, duplicate=0.1, reorder=0.2, tail_us=500, reset=0.1)
    mesh = a_mesh(seed, link=link)
    world, net = mesh.world, mesh.net
    world.run_until(3 * SECOND)
    mesh.crash(3)
    mesh.pause(4)
    mesh.add(13, [1])
    world.run_until(6 * SECOND)
    mesh.resume(4)
    mesh.restart(3, [2])
    cuts = net.split(range(1, 6), range(6, 12))
    world.run_until(12 * SECOND)
    net.heal(*cuts)
    mesh.leave(5)
    world.run_until(25 * SECOND)
    return world.trace_hash


def test_the_same_seed_is_the_same_run() -> None:
    """Two runs of one seed have one trace hash; another seed has another."""
    assert a_busy_run(7) == a_busy_run(7)
    assert a_busy_run(7) != a_busy_run(8)


def test_a_run_does_not_depend_on_the_process() -> None:
    """Another process under another hash seed comes to the same trace hash."""
    program = "from tests.simulations.test_world import a_busy_run; print(a_busy_run(7))"
    hashes = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        ask = [sys.executable, "-c", program]
        hashes.add(subprocess.run(ask, env=environment, capture_output=True, check=True).stdout)
    assert len(hashes) == 1
    assert hashes == {a_busy_run(7).encode() + b"\n"}


def test_a_trace_hash_says_what_it_holds_for() -> None:
    """Beside it stand the commit, or the release, and Python's minor version."""
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in provenance()
    assert provenance().split(",")[0]


@pytest.mark.parametrize(
    ("reach", "name"),
    [
        (time.monotonic, "time.monotonic"),
        (random.random, "random.random"),
        (lambda: os.urandom(1), "os.urandom"),
    ],
)
def test_what_a_machine_may_not_do_fails_by_name(reach: Callable[[], object], name: str) -> None:
    """A machine that reaches for a clock or dice is stopped, and told which and what instead."""
    argument = "1" if name == "os.urandom" else ""
    module = name.partition(".")[0]
    program = f"import {module}\ndef step():\n    return {name}({argument})"
    scope: dict[str, object] = {"__name__": "mesh.gossip.bad"}
    exec(program, scope)
    step = scope["step"]
    assert callable(step)
    with (
        guarded(),
        pytest.raises(ImpureError, match=f"mesh.gossip.bad reaches for {name}; instead"),
    ):
        step()
    with guarded():
        reach()  # We are no machine.
    step()  # Nobody watches any more.


def test_the_real_machine_is_pure() -> None:
    """A busy run of the gossip machine reaches for nothing."""
    with guarded():
        a_busy_run(3)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_datagrams_are_lost_as_often_as_asked(share: float) -> None:
    """Loss is a share of all datagrams."""
    net = Network(World(1), Link(loss=share))
    arrived = sum(len(net.delays(1, 2)) for _ in range(4_000))
    assert abs(arrived / 4_000 - (1 - share)) < 0.03


def test_datagrams_are_repeated_and_overtaken() -> None:
    """Duplicates come as often as asked, and later ones may come first."""
    net = Network(World(1), Link(duplicate=0.5, reorder=0.5))
    delays = [net.delays(1, 2) for _ in range(2_000)]
    assert abs(sum(len(found) == 2 for found in delays) / 2_000 - 0.5) < 0.05
    assert any(later[0] + 10 < sooner[0] for sooner, later in pairwise(delays))


def test_cuts_are_one_way_and_bridges_reach_both() -> None:
    """A cut holds in its direction only; a split in both; who is in neither half is a bridge."""
    net = Network(World(1))
    net.cut([1], [2])
    assert not net.delays(1, 2)
    assert net.delays(2, 1)
    net.heal()
    net.split([1, 2], [4, 5])
    assert not net.delays(1, 4)
    assert not net.delays(5, 2)
    assert net.delays(3, 1)
    assert net.delays(3, 5)
    net.heal()
    assert net.delays(1, 4)


def test_one_link_may_differ_from_all_others() -> None:
    """A pair, all into a node, or all out of it, may have a link of its own."""
    net = Network(World(1))
    net.links[1, 2] = Link(loss=1.0)
    net.into[3] = Link(loss=1.0)
    net.out_of[4] = Link(loss=1.0)
    assert not net.delays(1, 2)
    assert net.delays(2, 1)
    assert not net.delays(1, 3)
    assert net.delays(3, 1)
    assert not net.delays(4, 1)


def test_streams_wait_where_datagrams_are_lost() -> None:
    """At a quarter of loss most calls come through, some of them late; a cut breaks all."""
    net = Network(World(1), Link(loss=0.25))
    took = [net.call_us(1, 2) for _ in range(400)]
    through = [sum(found) for found in took if found is not None]
    assert len(through) > 390
    assert min(through) < 10_000 < 200_000 < max(through)
    net.split([1], [2])
    assert net.call_us(1, 2) is None


def dead_of(mesh: GossipMesh) -> list[tuple[int, int]]:
    """Return a list to which (observer, subject) of each death will be added."""
    found: list[tuple[int, int]] = []

    def watch(node: VirtualNode, change: Changed) -> None:
        if change.after.state is State.DEAD:
            found.append((node.node_id, change.after.node_id))

    mesh.watchers.append(watch)
    return found


def test_a_crash_is_found_by_all() -> None:
    """One that is ended with -9 is dead at all others, and nobody else is."""
    mesh = a_mesh(count=20)
    found = dead_of(mesh)
    mesh.world.run_until(5 * SECOND)
    mesh.crash(7)
    mesh.world.run_until(15 * SECOND)
    assert sorted(found) == [(node, 7) for node in range(1, 21) if node != 7]


def test_a_short_stop_kills_nobody() -> None:
    """One that is stopped for a second and goes on is found dead by nobody."""
    mesh = a_mesh(count=20)
    found = dead_of(mesh)
    mesh.world.run_until(5 * SECOND)
    mesh.pause(7)
    mesh.world.run_until(6 * SECOND)
    mesh.resume(7)
    mesh.world.run_until(20 * SECOND)
    assert found == []


def test_a_socket_holds_only_so_much_for_a_stopped_process() -> None:
    """What waits for a process that does not run is bounded; the rest is dropped."""
    mesh = a_mesh(count=3)
    mesh.pause(1)
    for _ in range(2_000):
        mesh.world.at(0, mesh._deliver, mesh.nodes[1], b"\x80", "10.0.0.2:9093")
    mesh.world.run_until(SECOND)
    assert len(mesh.nodes[1].waiting) == 512
    assert mesh.dropped >= 1_488


def test_a_rhythm_lets_go_at_its_end() -> None:
    """Between the stops of a rhythm a process runs, and after its end for good."""
    rhythm = Rhythm(begin_us=100, still_us=10, free_us=5, end_us=133)
    assert [rhythm.free_at(at) for at in (99, 100, 109, 110, 114, 115, 131, 133)] == [
        99,
        110,
        110,
        110,
        114,
        125,
        133,
        133,
    ]


def test_clocks_may_run_apart() -> None:
    """Nodes whose clocks are off and run at other rates agree all the same."""
    mesh = a_mesh(count=10)
    for node_id, node in mesh.nodes.items():
        node.skew_us, node.rate = node_id * 3_600 * SECOND, 1 + node_id / 10_000
    found = dead_of(mesh)
    mesh.world.run_until(30 * SECOND)
    ticks = {node.machine.wake_at_ms // 3_600_000 for node in mesh.nodes.values() if node.machine}
    assert ticks == set(range(1, 11))
    assert found == []


def test_a_restart_is_another_start() -> None:
    """A process that comes back has a higher start counter, and all others know it."""
    mesh = a_mesh(count=5)
    mesh.world.run_until(2 * SECOND)
    mesh.restart(2, [1])
    mesh.world.run_until(4 * SECOND)
    for node in mesh.nodes.values():
        machine = node.machine
        assert machine is not None
        member = machine.member(2)  # type: ignore[attr-defined]
        assert (member.start, member.state) == (2, State.ALIVE)
    assert LAN.probe_interval_ms == 1_000


def test_members_that_seal_find_a_crash_and_take_nothing_twice() -> None:
    """With a key a mesh works as without, and each datagram that comes again is refused."""
    world = World(1)
    mesh = GossipMesh(world, Network(world, Link(duplicate=0.2)), key=bytes(32))
    mesh.add_agreed(12)
    found = dead_of(mesh)
    world.run_until(5 * SECOND)
    mesh.crash(7)
    world.run_until(15 * SECOND)
    assert sorted(found) == [(node, 7) for node in range(1, 13) if node != 7]
    mesh.add(13, [1])
    world.run_until(20 * SECOND)
    assert all(13 in live_at(mesh, one) for one in range(1, 13) if one != 7)
    assert mesh.refused > 0


def test_two_who_met_only_each_other_find_the_mesh() -> None:
    """Two that joined through one another while all else was cut off are members once it is not.

    Found by seed 3148 of the random worlds: they had been a mesh of their own for ever.
    """
    mesh = a_mesh(count=2)
    cuts = mesh.net.split({1, 2}, {3, 4})
    mesh.add(3, [1])
    mesh.add(4, [1, 2, 3])
    mesh.world.run_until(30 * SECOND)
    assert live_at(mesh, 4) == [3, 4]
    mesh.net.heal(*cuts)
    mesh.world.run_until(60 * SECOND)
    assert [live_at(mesh, one) for one in range(1, 5)] == [[1, 2, 3, 4]] * 4


def live_at(mesh: GossipMesh, node_id: int) -> list[int]:
    machine = mesh.nodes[node_id].machine
    assert isinstance(machine, Gossip)
    return machine.live()


def test_members_soon_know_that_all_agree() -> None:
    """Three seconds after the last of twenty has joined, each of them says that all agree."""
    mesh = a_mesh(count=1)
    for node_id in range(2, 21):
        mesh.world.run_until(node_id * SECOND // 10)
        mesh.add(node_id, [1])
    mesh.world.run_until(5 * SECOND)
    machines = [node.machine for node in mesh.nodes.values() if isinstance(node.machine, Gossip)]
    assert len({machine.view_hash for machine in machines}) == 1
    assert all(machine.picture(5_000).agree for machine in machines)
