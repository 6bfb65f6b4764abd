"""Who is well: probes, what follows when they fail, and when a member is found dead.

SWIM (2002) with Lifeguard (2018), and two rules of ours:
- Three of four probes go to the next three on the ring, so everybody is probed by the same three at
  known distances; whoever suspects asks them, and each that fails by itself confirms.
- A node accuses nobody while it hears from nobody: then it is the one that cannot be reached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import gcd

import cbor2

from mesh.gossip.context import LOSS_SHARE_HIGH, LOSS_SHARE_MIN, NEVER_MS, Context
from mesh.gossip.effects import Doubted, Send
from mesh.gossip.member import Member, State
from mesh.gossip.messages import ACK, NACK, PING, PROBE_FOR, encode_record, with_items
from mesh.gossip.spreader import Spreader
from mesh.gossip.suspicion import Suspicion
from mesh.model.types import NodeId

NEAR = 3
"""The next on the ring that a node probes again and again."""
OBSERVERS = 5
"""Those before it on the ring that are told when a node is suspected: two more than probe it, for
some may be what is ill."""
EVERYBODY_MAX = 32
"""In a mesh up to this size a suspicion is told to all, so that all show it."""
LATE_MS = 400
"""A machine that is called so much later than it asked for did not run: what it waited for may
have come meanwhile."""
PROBES_MAX = 256
"""Under way at a time, those for others included."""
UNREACHED_MAX = 64
TRIES = 3
"""Pings of one probe where datagrams get lost, in its time: with a quarter lost each way, one in
twelve probes gets no answer to three, and nearly every second none to one."""
LAST_QUESTIONS = 4
"""To a suspect before it is found dead, there: a refutation that got lost comes with the answer."""
MISSES_MIN = 3
"""Direct probes in a row: one on the ring is probed again after four intervals."""


class Probe:
    """One that is under way."""

    __slots__ = (
        "begun_ms",
        "confirms",
        "due_ms",
        "helpers",
        "nacks",
        "on_behalf",
        "regular",
        "stage",
        "target",
        "tries",
        "tries_left",
    )

    def __init__(self, target: NodeId, now_ms: int, due_ms: int) -> None:
        """A direct one of this node's own."""
        self.target = target
        self.begun_ms = now_ms
        self.due_ms = due_ms
        self.stage = 1
        """1: direct; 2: by others and on a stream."""
        self.regular = False
        self.confirms = False
        """Whether it only asks if a suspicion of others is right: then one try is enough."""
        self.tries = False
        """Whether it only tells how good the links of this node are: its target is held dead."""
        self.tries_left = TRIES - 1
        self.helpers = 0
        """How many others were asked."""
        self.nacks: dict[NodeId, int] = {}
        """Who was asked, lives, and could not reach it either; with the percent it weighs."""
        self.on_behalf: tuple[str, int] | None = None
        """Where it was asked for, and under which number."""


class Detector:
    """Probes, and holds suspicions, for one machine."""

    def __init__(
        self,
        context: Context,
        spreader: Spreader,
        *,
        decide: Callable[[Member, int], None],
        call_probe: Callable[[Member, int], None],
        now_ms: int,
    ) -> None:
        """Begin to probe within an interval.

        Args:
            context: what is shared.
            spreader: tells what is found.
            decide: called with a member as it is to be believed from now on: suspect, dead, or
                alive because nobody confirms a suspicion.
            call_probe: probes a member on a stream, under the number of a probe.
            now_ms: the time.
        """
        self._context = context
        self._spreader = spreader
        self._decide = decide
        self._call_probe = call_probe
        self._probes: dict[int, Probe] = {}
        self._sequence = context.rng.getrandbits(31)
        self._tick_count = context.below(4)
        self._walk_at = context.below(1 << 20)
        self._walk_step = 1
        self._walk_left = 0
        self.tick_ms = now_ms + context.below(context.settings.probe_interval_ms)
        self.suspicions: dict[NodeId, Suspicion] = {}
        self.round_trips: dict[NodeId, int] = {}
        """Smoothed, in sixteenths of a millisecond, of direct probes."""
        self.misses: dict[NodeId, int] = {}
        """Direct probes in a row that were not answered."""
        self.deaf_ms = -NEVER_MS
        """When this node, running, last had heard from nobody for some probes."""
        self.is_on_trial = False
        """Others hold this node dead for its bad links; it looks at them at its full pace."""
        self._answering: NodeId = 0
        """One that is held dead, and answered."""
        self.misses_share = 0.0
        """Of regular probes, those that were not answered directly; smoothed over some eight."""

    @property
    def wake_ms(self) -> int:
        """When there is something to do, if nothing comes."""
        if not self._probes:
            return self.tick_ms
        return min(self.tick_ms, min(probe.due_ms for probe in self._probes.values()))

    @property
    def load(self) -> dict[str, int]:
        """Sizes of what could grow."""
        return {"probes": len(self._probes), "misses": len(self.misses)}

    # Time

    def run(self, now_ms: int) -> None:
        """Do what is due."""
        if self._probes:
            due = [number for number, probe in self._probes.items() if probe.due_ms <= now_ms]
            for number in due:
                self._probe_due(number, self._probes[number], now_ms)
        if now_ms >= self.tick_ms:
            self._tick(now_ms)

    def was_paused(self, late_ms: int, now_ms: int) -> None:
        """The machine was not run for so long: nothing of what it waited for tells anything."""
        context = self._context
        context.counters["pauses"] += 1
        self._probes.clear()
        context.heard_ms = now_ms
        context.sick(1)
        self.tick_ms = max(self.tick_ms, now_ms)
        for suspicion in self.suspicions.values():
            suspicion.begun_ms += late_ms
            suspicion.due_ms += late_ms
            # The timer of before the pause finds nothing due; without this one, nothing ever would.
            context.at(suspicion.due_ms, self._suspicions_due)

    def _tick(self, now_ms: int) -> None:
        context = self._context
        interval_ms = context.settings.probe_interval_ms
        if now_ms - context.heard_ms > 2 * interval_ms and len(context.view.ring) > 1:
            self.deaf_ms = now_ms
            self._call_the_dead()
        # A sick node probes less often, so that it does less harm; one that is held dead does none.
        slower = 1 if self.is_on_trial else context.health + 1
        self.tick_ms = max(self.tick_ms, now_ms - interval_ms) + interval_ms * slower
        self._tick_count += 1
        target = self._next_target()
        if target is not None:
            self._probe(target, now_ms).regular = True
        if self.is_on_trial:
            self._try_silent(now_ms)

    def _call_the_dead(self) -> None:
        """Ping one that is held dead: whom this node holds alive and cannot hear may be gone."""
        view, me = self._context.view, self._context.node_id
        members = [view.get(one) for one in view.silent if one != me]
        dead = [one for one in members if one is not None and one.state is State.DEAD]
        if dead:
            self.ping(dead[self._context.below(len(dead))], 0)

    def _try_silent(self, now_ms: int) -> None:
        """Probe one that is held dead, and stay with it once it answers.

        Whoever this node holds alive may be gone: then only others that were found dead as wrongly
        as it was can show it that its links are good.
        """
        view = self._context.view
        member = view.get(self._answering)
        if member is None or member.state is not State.DEAD:
            silent = [one for one in view.silent if one != self._context.node_id]
            if not silent:
                return
            self._answering = 0
            member = view.get(silent[self._context.below(len(silent))])
        if member is not None and member.state is State.DEAD:
            probe = self._probe(member.node_id, now_ms)
            probe.regular = probe.tries = True

    def _next_target(self) -> NodeId | None:
        context = self._context
        ring, me = context.view.ring, context.node_id
        n = len(ring)
        if n <= 1:
            return None if not n or ring[0] == me else ring[0]
        turn = self._tick_count & 3
        if turn < NEAR and n > NEAR + 1:
            place = context.view.place(me)
            present = place < n and ring[place] == me
            return ring[(place + turn + present) % n]
        # Everybody in turn, in an order that is drawn anew after each pass.
        while True:
            if self._walk_left <= 0:
                self._walk_left = n
                self._walk_step = 1 + context.below(n - 1)
                while gcd(self._walk_step, n) != 1:
                    self._walk_step += 1
            self._walk_left -= 1
            self._walk_at = (self._walk_at + self._walk_step) % n
            if ring[self._walk_at] != me:
                return ring[self._walk_at]

    # Probes

    def _probe(self, target: NodeId, now_ms: int) -> Probe:
        """Send a ping; a member that is not held alive is told so with it."""
        context = self._context
        self._sequence = number = (self._sequence + 1) & 0x7FFF_FFFF
        wait_ms = context.settings.probe_timeout_ms * (context.health + 1)
        probe = Probe(target, now_ms, now_ms + wait_ms)
        if len(self._probes) < PROBES_MAX:
            self._probes[number] = probe
        member = context.view.get(target)
        if member is not None:
            self.ping(member, number)
            self._try_again_soon(number, probe, now_ms)
        return probe

    def _try_again_soon(self, number: int, probe: Probe, now_ms: int) -> None:
        """Have a probe ask again within its time, where datagrams get lost."""
        if self._context.loss_share < LOSS_SHARE_MIN or not probe.tries_left:
            return
        # Not before an answer to the last ping could be here.
        gap_ms = max((probe.due_ms - probe.begun_ms) // TRIES, self._round_trip_ms(probe.target))
        if now_ms + gap_ms < probe.due_ms:
            self._context.at(now_ms + gap_ms, partial(self._try_again, number))

    def _round_trip_ms(self, node_id: NodeId) -> int:
        return 2 * self.round_trips.get(node_id, 0) >> 4

    def _try_again(self, number: int, now_ms: int) -> None:
        probe = self._probes.get(number)
        if probe is None or probe.stage != 1:
            return
        member = self._context.view.get(probe.target)
        if member is not None:
            probe.tries_left -= 1
            self.ping(member, number)
            self._try_again_soon(number, probe, now_ms)

    def ping(self, member: Member, number: int) -> None:
        """Send a ping under a number."""
        context = self._context
        data = cbor2.dumps(
            (
                PING,
                context.tag,
                context.node_id,
                context.start,
                number,
                context.view.view_hash,
                member.node_id,
                (),
            )
        )
        if member.state is not State.ALIVE:
            data = with_items(data, [self.record_of(member)])
        context.out.append(Send(member.address, data))

    def record_of(self, member: Member) -> bytes:
        """Return the news of a member's state, with those who accuse it."""
        suspicion = self.suspicions.get(member.node_id)
        return encode_record(member, None if suspicion is None else suspicion.accusers)

    def probe_for(self, target: NodeId, number: int, source: str, now_ms: int) -> None:
        """Probe for another; it is told what comes of it."""
        if len(self._probes) < PROBES_MAX and self._context.view.get(target) is not None:
            self._probe(target, now_ms).on_behalf = (source, number)

    def acked(self, number: int, sender: NodeId, target: NodeId, now_ms: int) -> None:
        """An answer came, from the target itself or, if `target` is not 0, from who asked it."""
        probe = self._probes.get(number)
        if probe is None or probe.target != (target or sender):
            return
        del self._probes[number]
        context = self._context
        if probe.on_behalf is not None:
            source, asked = probe.on_behalf
            self.answer_ack(source, asked, probe.target)
            return
        if probe.tries:
            self._answering = sender
        if not target:
            took = (now_ms - probe.begun_ms) << 4
            before = self.round_trips.get(sender, took)
            self.round_trips[sender] = before + (took - before >> 3)
            if self.misses:
                self.misses.pop(sender, None)
            if probe.regular:
                self._measure_misses(missed=False)
            context.measure_loss(lost=probe.tries_left < TRIES - 1)
        else:
            context.measure_loss(lost=True)
        if context.health and probe.regular:
            context.sick(-1)

    def _measure_misses(self, *, missed: bool) -> None:
        self.misses_share += ((1 if missed else 0) - self.misses_share) / 8

    def called(self, number: int, *, answered: bool) -> None:
        """A probe on a stream has ended."""
        probe = self._probes.get(number)
        if probe is not None and answered:
            del self._probes[number]
            self._context.counters["datagrams_blocked"] += 1
            self._context.measure_loss(lost=True)
            if self._context.health and probe.regular:
                self._context.sick(-1)

    def nacked(self, number: int, sender: NodeId, arg: int, now_ms: int) -> None:
        """Somebody who was asked could not reach it either."""
        probe = self._probes.get(number)
        target, health = divmod(arg, 16)
        if probe is not None and probe.target == target and probe.stage == 2:
            probe.nacks[sender] = 100 // (health + 1)
            if len(probe.nacks) >= probe.helpers and self._context.loss_share < LOSS_SHARE_MIN:
                probe.due_ms = now_ms  # Nothing is left to wait for.

    def answer_ack(self, source: str, number: int, target: NodeId) -> None:
        """Tell who asked that a probe was answered."""
        self._answer(source, ACK, number, target)

    def _answer(self, source: str, kind: int, number: int, arg: int) -> None:
        context = self._context
        head = (kind, context.tag, context.node_id, context.start, number)
        data = cbor2.dumps((*head, context.view.view_hash, arg, ()))
        context.out.append(Send(source, data))

    def _probe_due(self, number: int, probe: Probe, now_ms: int) -> None:
        context = self._context
        if probe.on_behalf is not None:
            del self._probes[number]
            source, asked = probe.on_behalf
            self._answer(source, NACK, asked, probe.target * 16 + context.health)
            return
        member = context.view.get(probe.target)
        if member is None or not member.live:
            del self._probes[number]
            if probe.tries and probe.target == self._answering:
                self._answering = 0
                self._measure_misses(missed=True)
        elif probe.stage == 1 and not probe.confirms:
            self._ask_others(number, probe, member, now_ms)
        else:
            del self._probes[number]
            self._failed(probe, member, now_ms)

    def _ask_others(self, number: int, probe: Probe, member: Member, now_ms: int) -> None:
        context = self._context
        settings = context.settings
        target = probe.target
        self.misses[target] = self.misses.get(target, 0) + 1
        if probe.regular:
            self._measure_misses(missed=True)
        probe.stage = 2
        # Whoever is asked waits as long as we did before it says that it got no answer, either.
        wait_ms = (settings.probe_timeout_ms + settings.indirect_timeout_ms) * (context.health + 1)
        probe.due_ms = now_ms + wait_ms
        head = (PROBE_FOR, context.tag, context.node_id, context.start, number)
        data = cbor2.dumps((*head, context.view.view_hash, target, ()))
        helpers = self._helpers(target)
        probe.helpers = len(helpers)
        for helper in helpers:
            other = context.view.get(helper)
            assert other is not None, "the ring holds only members"
            context.out.append(Send(other.address, data))
        self._call_probe(member, number)

    def _helpers(self, target: NodeId) -> list[NodeId]:
        """Return members that can tell: those which probe it anyhow, then anybody."""
        context = self._context
        ring, count = context.view.ring, context.settings.indirect_probes
        apart = (target, context.node_id)
        found = {one: None for one in context.view.observers(target, NEAR) if one not in apart}
        for _ in range(2 * count):
            if len(found) >= count:
                break
            one = ring[context.below(len(ring))]
            if one not in apart and one not in self.suspicions:
                found[one] = None
        return list(found)[:count]

    def _failed(self, probe: Probe, member: Member, now_ms: int) -> None:
        """Nobody reached it. If somebody told us so, we are not the one to blame."""
        context = self._context
        others = len(context.view.ring) - 2
        if context.heard_ms <= probe.begun_ms and others > 0:
            context.sick(1)
            context.counters["deaf_probes"] += 1
            return
        if probe.helpers and not probe.nacks:
            # Lifeguard counts each nack that is missing; but where many are ill at once, those
            # who were asked are among them, and we would doubt ourselves for what they have.
            context.sick(1)
        accusers = {context.node_id: 100 // (context.health + 1), **probe.nacks}
        self.accuse(member, accusers, now_ms)
        self._probe_beyond(member.node_id, now_ms)

    def _probe_beyond(self, node_id: NodeId, now_ms: int) -> None:
        """Probe the next after our near ones at once: what is behind one that is ill may be ill
        with it, and then nobody probes it but by chance.
        """
        context = self._context
        ring, n = context.view.ring, len(context.view.ring)
        place, at = context.view.place(context.node_id), context.view.place(node_id)
        present = at < n and ring[at] == node_id
        if n > NEAR + 2 and 0 < (at - place) % n <= NEAR:
            self._probe(ring[(place + NEAR + present) % n], now_ms)

    # Suspicions

    def accuse(self, member: Member, accusers: Mapping[NodeId, int], now_ms: int) -> None:
        """Take in that these nodes could not reach a live member, each by itself.

        Observers of it then probe it, too; whoever learns something new passes it on.
        """
        context = self._context
        node_id = member.node_id
        suspicion = self.suspicions.get(node_id)
        if suspicion is None:
            suspicion = Suspicion(member.start, member.incarnation, now_ms)
            self.suspicions[node_id] = suspicion
            member = member._replace(state=State.SUSPECT)
            self._decide(member, now_ms)
        if not suspicion.add(accusers):
            return
        context.out.append(Doubted(node_id, dict(suspicion.accusers)))
        suspicion.set_due(context.settings, len(context.view.ring) - 1, now_ms)
        context.at(suspicion.due_ms, self._suspicions_due)
        if context.loss_share > LOSS_SHARE_MIN:
            first_ms = suspicion.due_ms - LAST_QUESTIONS * self._question_gap_ms
            context.at(max(now_ms, first_ms), partial(self._last_question, node_id))
        record = self.record_of(member)
        everybody = len(context.view.ring) <= EVERYBODY_MAX
        observers = context.view.observers(node_id, OBSERVERS)
        if everybody:
            self._spreader.tell(node_id, record)
        else:
            for one in dict.fromkeys((*observers, *suspicion.accusers)):
                other = context.view.get(one)
                if one != context.node_id and other is not None:
                    self._spreader.send_to(other.address, [record])
        self._spreader.send_to(member.address, [record])  # The buddy of Lifeguard: to refute.
        if (
            context.node_id in observers
            and context.node_id not in suspicion.accusers
            and suspicion.asked_ms is None
        ):
            suspicion.asked_ms = now_ms
            self._probe(node_id, now_ms).confirms = True

    @property
    def _question_gap_ms(self) -> int:
        return self._context.settings.suspicion_ms_min // (2 * LAST_QUESTIONS)

    def _last_question(self, node_id: NodeId, now_ms: int) -> None:
        """Tell a suspect what it is suspected of, again and again until it is found dead."""
        suspicion, gap_ms = self.suspicions.get(node_id), self._question_gap_ms
        if suspicion is None or now_ms < suspicion.questioned_ms + gap_ms:
            return
        if suspicion.due_ms - now_ms > LAST_QUESTIONS * gap_ms:
            return  # It lasts longer than was thought; another timer will ask.
        suspicion.questioned_ms = now_ms
        member = self._context.view.get(node_id)
        if member is not None:
            self.ping(member, 0)
            self._context.at(now_ms + gap_ms, partial(self._last_question, node_id))

    def clear(self, node_id: NodeId) -> None:
        """Its subject has refuted it, or it is over."""
        self.suspicions.pop(node_id, None)

    def _suspicions_due(self, now_ms: int) -> None:
        context = self._context
        least_ms = context.settings.suspicion_ms_min
        others = len(context.view.ring) - 2
        for node_id, suspicion in sorted(self.suspicions.items()):
            if suspicion.due_ms > now_ms:
                continue
            heard_for_ms = context.heard_ms - context.hears_since_ms
            if others > 0 and (now_ms - context.heard_ms > least_ms or heard_for_ms < least_ms):
                # We hear from nobody, or only just do again: it may have been refuted long ago.
                suspicion.due_ms = now_ms + least_ms
                context.at(suspicion.due_ms, self._suspicions_due)
                continue
            del self.suspicions[node_id]
            member = context.view.get(node_id)
            if member is None or member.state is not State.SUSPECT:
                continue
            if others > 1 and len(suspicion.accusers) < 2:
                # Its observers were asked, and none of them agrees.
                context.counters["lone_suspicions"] += 1
                self._decide(member._replace(state=State.ALIVE), now_ms)
            else:
                dead = member._replace(state=State.DEAD, impaired=suspicion.talked)
                self._decide(dead, now_ms)

    def unreached(self) -> list[NodeId]:
        """Return live members that direct probes have not reached for some time."""
        if self._context.loss_share > LOSS_SHARE_HIGH:
            return []
        view = self._context.view
        found = []
        for node_id, count in sorted(self.misses.items()):
            member = view.get(node_id)
            if member is not None and member.live and count >= MISSES_MIN:
                found.append(node_id)
        return found[:UNREACHED_MAX]

    def forget(self, node_id: NodeId, now_ms: int) -> None:
        """It is dead or has left."""
        self.misses.pop(node_id, None)
        self.round_trips.pop(node_id, None)
        self.suspicions.pop(node_id, None)
        self._probe_beyond(node_id, now_ms)
