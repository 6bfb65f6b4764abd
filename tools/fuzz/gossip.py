"""The membership machine under fire: a million mutated datagrams and frames, in this process.

One member of a mesh gets, alone, mutated pieces of what members say: through all three doors of the
machine, from members and from strangers, with its time going on. Without a cluster key a forged
message may be believed; whatever comes, nothing raises, nothing grows, no answer is longer than a
datagram, and the machine still does what it must.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence

import cbor2

from mesh.gossip import LAN, Call, Effect, Gossip, Send, State
from mesh.gossip.messages import PING, tag_of
from mesh.gossip.settings import FRAME_BYTES_MAX, MEMBERS_MAX
from mesh.runtime.trio_runtime import TrioRuntime
from simulations.gossip_mesh import CLUSTER_ID, GossipMesh
from simulations.net import Network
from simulations.world import World
from tools.fuzz.hunt import BATCH_FRAMES, WARM_BATCHES, Burst, Finding, Outcome, growth
from tools.fuzz.talk import DATAGRAM, NODES, QUESTION, SECOND, corpus, mutated
from tools.fuzz.target import Figures

NAME = "gossip"
"""Of this hunt among the ports."""
EFFECTS_MAX = 4_096
"""That one message may cause: a push-pull passes on what it brought."""
LOAD_MAX, LOAD_PER_MEMBER = 2_000, 40
"""Of anything that the machine holds: queues, suspicions, timers."""
WAKES_MAX = 1_000
"""In a row, at one instant."""
STEP_MS_MAX = 3


class Victim:
    """One machine under fire."""

    def __init__(self, seed: int) -> None:
        """A member of a mesh that agrees, whose others say nothing by themselves any more."""
        world = World(seed)
        mesh = GossipMesh(world, Network(world), LAN)
        mesh.add_agreed(NODES)
        world.run_until(2 * SECOND)
        machine = mesh.nodes[1].machine
        assert isinstance(machine, Gossip)
        self._machine = machine
        self._addresses = [node.address for node in mesh.nodes.values()]
        self._entries = dict(mesh.nodes[1].entries)
        self._now_ms = 2_000
        self._calls: list[int] = []
        self.answers = 0

    def take(self, rng: random.Random, message: bytes) -> str | None:
        """Let a message in, some milliseconds later; return what is wrong, if anything is."""
        machine = self._machine
        self._now_ms += rng.randint(0, STEP_MS_MAX)
        stranger = f"192.0.2.1:{rng.randrange(99)}"
        source = rng.choice(self._addresses) if rng.random() < 0.7 else stranger
        door, data, answer = message[0], message[1:], None
        try:
            for _ in range(WAKES_MAX):
                if machine.wake_at_ms > self._now_ms:
                    break
                if wrong := self._heed(machine.woken(self._now_ms)):
                    return wrong
            else:
                return "it never sleeps"
            if door == DATAGRAM:
                effects = machine.received(data, source, self._now_ms)
            elif door == QUESTION:
                answer, effects = machine.called(data, source, self._now_ms)
            elif self._calls:
                effects = machine.answered(self._calls.pop(0), data, self._now_ms)
            else:
                return None
        except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
            return f"it raises {type(error).__name__}: {error}"
        if answer is not None:
            self.answers += 1
            if not 0 < len(answer) <= FRAME_BYTES_MAX:
                return f"it answers with {len(answer)} bytes"
        return self._heed(effects)

    def _heed(self, effects: list[Effect]) -> str | None:
        if len(effects) > EFFECTS_MAX:
            return f"one message has {len(effects)} effects"
        for effect in effects:
            if isinstance(effect, Send):
                self.answers += 1
                if len(effect.data) > LAN.datagram_bytes_max:
                    return f"it sends a datagram of {len(effect.data)} bytes"
            elif isinstance(effect, Call):
                self._calls.append(effect.call_id)
        return None

    def look(self) -> str | None:
        """Return what is wrong with the machine after a batch."""
        load = self._machine.load
        members = load["members"]
        if members > MEMBERS_MAX:
            return f"it knows {members} members"
        for name, count in load.items():
            if count > LOAD_MAX + LOAD_PER_MEMBER * members:
                return f"it holds {count} {name} with {members} members"
        mine = self._machine.member(1)
        if mine is None or not self._entries.items() <= mine.entries.items():
            return "somebody else has written its map"
        if mine.state is State.LEFT:
            return "it has left"
        sent = self.answers
        ping = cbor2.dumps((PING, tag_of(CLUSTER_ID), 2, 1, 7, 0, 1, ()))
        try:
            wrong = self._heed(self._machine.received(ping, self._addresses[1], self._now_ms))
        except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
            return f"it raises {type(error).__name__} on a good probe: {error}"
        return wrong or (None if self.answers > sent else "it does not answer a good probe")


def hunt_gossip(
    seed: int,
    messages: int,
    *,
    seconds_max: float,
    first_batch: int = 0,
    progress: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Fuzz the machine; stop at the first finding.

    Args:
        seed: of all random numbers.
        messages: how many.
        seconds_max: after which no new batch begins.
        first_batch: where in the sequence of the seed to begin.
        progress: called after each batch.
    """
    outcome = Outcome(NAME, seed, messages)
    begun_s = time.monotonic()
    real, usage = corpus(), TrioRuntime().usage
    batch = first_batch
    while not outcome.is_complete and time.monotonic() - begun_s < seconds_max:
        count = min(BATCH_FRAMES, messages - outcome.sent.frames)
        what, message = _batch(random.Random(f"{seed}/{NAME}/{batch}"), real, count, outcome)
        outcome.seconds = time.monotonic() - begun_s
        figures = Figures(usage().resident_bytes, len(os.listdir("/proc/self/fd")), 0)
        outcome.last = figures
        outcome.most_bytes = max(outcome.most_bytes, figures.rss_bytes)
        if batch - first_batch < WARM_BATCHES or outcome.first is None:
            outcome.first = figures
        what = what or growth(outcome.first, figures, outcome.seconds)
        if what is not None:
            outcome.finding = Finding(what, seed, batch, [[message]] if message else [])
            break
        progress(outcome)
        batch += 1
    return outcome


def _batch(
    rng: random.Random, real: Sequence[bytes], count: int, outcome: Outcome
) -> tuple[str | None, bytes]:
    """Let a fresh machine have a batch; return what is wrong, and the message that showed it."""
    victim = Victim(rng.getrandbits(32))
    message = b""
    for _ in range(count):
        message = mutated(rng, real)
        outcome.sent.frames += 1
        outcome.sent.bytes_out += len(message) - 1
        if what := victim.take(rng, message):
            return what, message
    outcome.sent.answers += victim.answers
    return victim.look(), b""


def replay_gossip(bursts: Sequence[Burst]) -> str | None:
    """Let a fresh machine have these messages, each behind the number of its door."""
    victim, rng = Victim(0), random.Random(0)
    for burst in bursts:
        for message in burst:
            if message and (what := victim.take(rng, message)):
                return what
    return victim.look()
