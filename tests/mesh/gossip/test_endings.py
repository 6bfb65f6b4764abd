"""What must come to an end: a join, a suspicion, a tombstone."""

from __future__ import annotations

import random
from dataclasses import replace

import cbor2

from mesh.gossip import LAN, Call, Effect, Gossip, JoinFailed, Me, Refused, Send, State, Value
from mesh.gossip.messages import JOINED, NEWS, SYNC, tag_of
from mesh.gossip.syncer import CALLS_MAX, _Asked
from simulations.gossip_mesh import GossipMesh
from simulations.net import Network
from simulations.world import World

CLUSTER_ID = bytes(range(16))


def a_gossip(node_id: int, *, start: int = 1, now_ms: int = 0) -> Gossip:
    entries: dict[str, Value] = {"peer": f"host-{node_id}:1", "directory": bytes([node_id]) * 16}
    me = Me(cluster_id=CLUSTER_ID, node_id=node_id, start=start, entries=entries)
    return Gossip(me, LAN, random.Random(node_id), now_ms)


def the_call(effects: list[Effect]) -> Call:
    (call,) = [effect for effect in effects if isinstance(effect, Call)]
    return call


def joined(joiner: Gossip, seed: Gossip, now_ms: int) -> None:
    """Have one join a mesh; their later datagrams go nowhere."""
    call = the_call(joiner.join(["seed:1"], now_ms))
    answer, _ = seed.called(call.data, "joiner:1", now_ms)
    joiner.answered(call.call_id, answer, now_ms)


def run(gossip: Gossip, until_ms: int) -> None:
    """Run one alone: nobody answers it."""
    while (now_ms := gossip.wake_at_ms) <= until_ms:
        for effect in gossip.woken(now_ms):
            if isinstance(effect, Call):
                gossip.answered(effect.call_id, None, now_ms)


def test_a_seed_that_answers_nonsense_is_one_that_failed() -> None:
    """Records that are none do not end a join in silence: the next seed is asked, then it fails."""
    gossip = a_gossip(2)
    nonsense = cbor2.dumps((JOINED, tag_of(CLUSTER_ID), [["no record"]]))
    first = the_call(gossip.join(["one:1", "two:1"], 0))
    second = the_call(gossip.answered(first.call_id, nonsense, 1))
    assert second.to == "two:1"
    (failed,) = gossip.answered(second.call_id, nonsense, 2)
    assert isinstance(failed, JoinFailed)
    assert [seed for seed, _ in failed.reasons] == ["one:1", "two:1"]


def test_seeds_that_did_not_answer_are_asked_until_they_do() -> None:
    """After a join its other seeds are asked in turn, unless they are members; then no more."""
    mesh, gossip = a_gossip(1), a_gossip(2)
    call = the_call(gossip.join(["seed:1", "host-1:1", "two:1", "three:1"], 0))
    answer, _ = mesh.called(call.data, "host-2:1", 0)
    gossip.answered(call.call_id, answer, 1)
    asked: list[str] = []

    def ask(until_ms: int, *, answers: bool) -> None:
        while (now_ms := gossip.wake_at_ms) <= until_ms:
            for effect in gossip.woken(now_ms):
                if isinstance(effect, Call) and effect.to in ("two:1", "three:1"):
                    asked.append(effect.to)
                    gossip.answered(effect.call_id, answer if answers else None, now_ms)
                elif isinstance(effect, Call):
                    assert effect.to == "host-1:1"
                    gossip.answered(effect.call_id, None, now_ms)

    ask(4 * LAN.reconnect_interval_ms, answers=False)
    assert asked == ["two:1", "three:1", "two:1", "three:1"][: len(asked)]
    assert len(asked) >= 3
    ask(7 * LAN.reconnect_interval_ms, answers=True)
    count = len(asked)
    ask(20 * LAN.reconnect_interval_ms, answers=False)
    assert len(asked) == count


def test_a_join_among_too_many_calls_fails_in_words() -> None:
    """A join that cannot be asked now is one that failed, not one that nobody hears of again."""
    gossip = a_gossip(2)
    for _ in range(CALLS_MAX):
        gossip.join(["one:1"], 0)
    (failed,) = gossip.join(["one:1"], 0)
    assert isinstance(failed, JoinFailed)
    assert failed.reasons == (("one:1", "was not asked: too many calls are under way"),)


def test_a_seed_that_cannot_be_asked_now_keeps_its_turn() -> None:
    """While all calls are under way nobody is met; the first that ends makes room for the seed."""
    mesh, gossip = a_gossip(1), a_gossip(2)
    call = the_call(gossip.join(["seed:1", "two:1"], 0))
    answer, _ = mesh.called(call.data, "host-2:1", 0)
    gossip.answered(call.call_id, answer, 1)
    calls = gossip._syncer._calls
    calls.update({number: _Asked(SYNC, "busy:1") for number in range(100, 100 + CALLS_MAX)})
    wait_ms = 2 * LAN.reconnect_interval_ms
    while (now_ms := gossip.wake_at_ms) <= wait_ms:
        assert not any(isinstance(effect, Call) for effect in gossip.woken(now_ms))
    assert gossip.picture(now_ms).counters["calls_put_off"] > 0
    calls.clear()
    asked: list[str] = []
    while "two:1" not in asked:
        now_ms = gossip.wake_at_ms
        assert now_ms <= wait_ms + LAN.probe_interval_ms * 2
        asked += [effect.to for effect in gossip.woken(now_ms) if isinstance(effect, Call)]


def test_a_pause_does_not_make_a_suspicion_last_for_ever() -> None:
    """A suspicion is as much longer as its holder was paused, and then it ends."""
    gossip = a_gossip(1)
    joined(a_gossip(2), gossip, 0)
    now_ms = 0
    while gossip.state_of(2) is not State.SUSPECT:
        now_ms += 10
        run(gossip, now_ms)
    gossip.woken(now_ms + 3_000)
    assert gossip.state_of(2) is State.SUSPECT
    run(gossip, now_ms + 3_000 + 2 * LAN.suspicion_ms_min * LAN.suspicion_factor_max)
    assert gossip.state_of(2) is State.DEAD


def test_a_burst_after_a_pause_is_one_pause() -> None:
    """A thousand messages that waited for a paused machine make its suspicions no longer than one.

    Found by seed 5045 of the random worlds: a suspicion had been put off by 40 minutes.
    """
    gossip = a_gossip(1)
    joined(a_gossip(2), gossip, 0)
    now_ms = 0
    while gossip.state_of(2) is not State.SUSPECT:
        now_ms += 10
        run(gossip, now_ms)
    for number in range(1_000):
        gossip.received(b"what came meanwhile", "host-2:1", now_ms + 3_000 + number // 100)
    assert gossip.picture(now_ms).counters["pauses"] == 1
    assert gossip.load["timers"] < 10
    run(gossip, now_ms + 3_010 + 2 * LAN.suspicion_ms_min * LAN.suspicion_factor_max)
    assert gossip.state_of(2) is State.DEAD


def test_who_leaves_twice_is_remembered_from_the_second_time_on() -> None:
    """The tombstone of an earlier life does not end that of a later one."""
    gossip = a_gossip(1)
    half_ms = LAN.tombstone_ms // 2
    for start, now_ms in ((1, 0), (2, half_ms)):
        leaver = a_gossip(2, start=start, now_ms=now_ms)
        run(gossip, now_ms)
        joined(leaver, gossip, now_ms)
        for effect in leaver.leave(now_ms):
            if isinstance(effect, Send):
                gossip.received(effect.data, "host-2:1", now_ms)
        assert gossip.state_of(2) is State.LEFT
    run(gossip, half_ms + LAN.tombstone_ms - 1)
    assert gossip.state_of(2) is State.LEFT
    run(gossip, half_ms + LAN.tombstone_ms + 1_000)
    assert gossip.state_of(2) is None


def test_news_of_one_who_left_again_and_again_makes_nothing_grow() -> None:
    """A flood of forged departures of one member is one tombstone, not one for each."""
    gossip = a_gossip(1)
    for number in range(1, 500):
        record = [9, 1, number, State.LEFT, 0, number, 0, {"peer": "nine:1"}]
        news = (NEWS, tag_of(CLUSTER_ID), 7, 1, 0, 0, 0, [record])
        gossip.received(cbor2.dumps(news), "stranger:1", 1)
    assert gossip.state_of(9) is State.LEFT
    assert max(gossip.load.values()) < 30
    run(gossip, LAN.tombstone_ms + 2_000)
    assert gossip.state_of(9) is None


def test_joins_that_are_refused_again_and_again_are_told_once() -> None:
    """Who tries with a foreign mesh's id a hundred times, each from another port, is one line."""
    gossip = a_gossip(1)
    stranger = Me(cluster_id=bytes(16), node_id=2, start=1, entries={"peer": "two:1"})
    call = the_call(Gossip(stranger, LAN, random.Random(2), 0).join(["one:1"], 0))
    told: list[Effect] = []
    for port in range(100):
        answer, effects = gossip.called(call.data, f"127.0.0.1:{port}", port)
        assert answer is not None
        told += effects
    assert [type(effect) for effect in told] == [Refused]


def test_what_is_kept_for_those_who_join_is_of_members_only() -> None:
    """The encoded maps of members that were forgotten go with the next join."""
    gossip = a_gossip(1)
    now_ms = 0
    for node_id in range(2, 12):
        leaver = a_gossip(node_id, now_ms=now_ms)
        joined(leaver, gossip, now_ms)
        for effect in leaver.leave(now_ms):
            if isinstance(effect, Send):
                gossip.received(effect.data, "leaver:1", now_ms)
        now_ms += LAN.tombstone_ms + 2_000
        run(gossip, now_ms)
    joined(a_gossip(99, now_ms=now_ms), gossip, now_ms)
    assert gossip.load["encoded"] <= gossip.load["members"] == 2


def test_who_has_been_dead_for_days_is_forgotten() -> None:
    """After three days a dead member counts as left at all at once, then it is forgotten by all."""
    short = replace(LAN, forget_dead_ms=20_000, tombstone_ms=5_000)
    world = World(1)
    mesh = GossipMesh(world, Network(world), short)
    mesh.add(1)
    for node_id in range(2, 7):
        mesh.add(node_id, [1])
    world.run_until(2_000_000)
    mesh.crash(3)
    states: list[tuple[int, State]] = []
    mesh.watchers.append(
        lambda node, change: (
            states.append((node.node_id, change.after.state)) if change.after.node_id == 3 else None
        )
    )
    world.run_until(20_000_000)
    assert {state for _, state in states} == {State.SUSPECT, State.DEAD}
    world.run_until(60_000_000)
    assert sorted(one for one, state in states if state is State.LEFT) == [1, 2, 4, 5, 6]
    for node in mesh.nodes.values():
        if isinstance(node.machine, Gossip):
            assert node.machine.member(3) is None
            assert node.machine.load["members"] == 5
    mesh.restart(3, [1])
    world.run_until(63_000_000)
    machine = mesh.nodes[1].machine
    assert isinstance(machine, Gossip)
    assert machine.live() == [1, 2, 3, 4, 5, 6]
