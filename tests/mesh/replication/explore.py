"""Every state that a few replicas can reach: the real machines, a lossy net, disks that forget.

What was sent may be delivered at any later time, any number of times, or never. What a replica does
is computed once for each state of its own and each action; the rest is bookkeeping with numbers:

- a *local* is one replica's state, disk and queue;
- a *seat* is a local with what was sent to it: all that decides what can happen to that replica;
- a state is a seat for every replica, the history, and what is used up of the budgets.

Reductions, all of them exact:

- Messages that can never again change anything at their receiver are left out (`dead.py`).
- Replicas are alike: whoever campaigns first is called the first; and of two states that differ in
  the names of two others only, one is looked at. The machine treats voters as a set, but for
  waiting times, of which there are none here.
- A restart inside an event is one action: nothing that happens elsewhere meanwhile can tell.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple, TypeVar

from mesh.replication import events as ev
from mesh.replication import messages as msg
from mesh.replication.messages import Message
from mesh.replication.standing import Answered, LinkMade
from mesh.replication.state import Replica, first_promise
from tests.mesh.replication.actions import (
    Action,
    Budget,
    Kind,
    budgets,
    elect,
    keepable,
    label,
    names,
    perform,
    possible,
    replica,
)
from tests.mesh.replication.bounds import Bound
from tests.mesh.replication.dead import is_dead
from tests.mesh.replication.invariants import Broken, History, Log, judge
from tests.mesh.replication.model_node import (
    LinkWord,
    ModelLog,
    Node,
    Packet,
    Unnoticed,
    dump,
    load,
    picture,
)
from tests.mesh.replication.renaming import renamed

__all__ = ["Bound", "Broken", "Explorer", "History", "elect", "judge"]

LOADED_MAX = 10_000
"""Replicas kept at hand beside their pickles."""

T = TypeVar("T")
Happened = tuple[tuple[ev.Effect, Log], ...]


class Outcome(NamedTuple):
    """What an action did at one replica."""

    local: int
    sent: tuple[tuple[int, int], ...]
    """Slots, and bits of packets to them."""
    happened: int
    """Number of what a history is to know; 0 for nothing."""
    cost: int
    fault: str
    is_unnoticed: bool


class Move(NamedTuple):
    """An outcome, as seen from a seat."""

    seat: int
    sent: tuple[tuple[int, int], ...]
    happened: int
    cost: int
    fault: str
    action: Action


class State(NamedTuple):
    """Numbers of: each replica's seat, the history, what is used up."""

    seats: tuple[int, ...]
    history: int
    used: int


@dataclass(slots=True)
class Numbers(Generic[T]):
    """Gives equal things one number."""

    of: dict[Hashable, int] = field(default_factory=dict)
    things: list[T] = field(default_factory=list)

    def number(self, key: Hashable, thing: Callable[[], T]) -> int:
        found = self.of.get(key)
        if found is None:
            found = self.of[key] = len(self.things)
            self.things.append(thing())
        return found


class Explorer:
    """Breadth-first over all states within a bound."""

    def __init__(self, bound: Bound) -> None:
        self.bound = bound
        self.slots = range(bound.voters + bound.witnesses)
        self.voters = tuple(replica(index) for index in range(bound.voters))
        self.everybody = tuple(replica(slot) for slot in self.slots)
        self.unnoticed = 0
        """How often an old disk took part and nobody could tell; such paths end there."""
        self.locals: Numbers[bytes] = Numbers()
        self.packets: list[Numbers[Packet]] = [Numbers() for _ in self.slots]
        """By the receiver's slot."""
        self.seats: Numbers[tuple[int, int]] = Numbers()
        self.histories: Numbers[History] = Numbers()
        self.happened: Numbers[Happened] = Numbers()
        self.happened.number((), tuple)
        self.costs: Numbers[tuple[Budget, ...]] = Numbers()
        self.costs.number((), tuple)
        self.used: Numbers[tuple[int, ...]] = Numbers()
        self.me: list[Replica] = []
        """For each local: who it is."""
        self.possible: list[tuple[Action, ...]] = []
        self.dead: list[int] = []
        """For each local: packets that never will change anything any more."""
        self.looked: list[int] = []
        self.loaded: dict[int, Node] = {}
        self.outcomes: dict[tuple[int, Action], tuple[tuple[Action, Outcome], ...]] = {}
        self.moves: list[tuple[Move, ...] | None] = []
        """For each seat."""
        self.added: dict[tuple[int, int], int] = {}
        self.judged: dict[tuple[int, int, Replica], int | str] = {}
        self.spent: dict[tuple[int, int], int] = {}
        # Only the last voter may differ from the others at the beginning.
        pair = (0, 1) if bound.late else (1, 2)
        self.swap = {slot: slot for slot in self.slots} | {pair[0]: pair[1], pair[1]: pair[0]}
        if max(pair) >= bound.voters:  # Witnesses are not swapped: they are seldom more than one.
            self.swap = {slot: slot for slot in self.slots}
        lives = range(bound.wipes + bound.old_disks + 1)
        self.others = {
            replica(a, life): replica(b, life) for a, b in self.swap.items() for life in lives
        }
        self.mirrored: dict[int, int] = {}
        self.mirrored_local: dict[int, int] = {}
        self.mirrored_packet: list[dict[int, int]] = [{} for _ in self.slots]
        self.mirrored_history: dict[int, int] = {}

    def run(self) -> tuple[int, bool, Broken | None]:
        """Return how many states there are, whether all were seen, and what was broken first."""
        first = self._first()
        seen = {first}
        frontier = [(first, 0)]
        parents: list[tuple[int, int, Action | None, bool]] = [(-1, -1, None, False)]
        while frontier:
            ahead: list[tuple[State, int]] = []
            for state, at in frontier:
                for slot, action, found in self._successors(state):
                    if isinstance(found, str):
                        steps = self._story(parents, at, (slot, action))
                        return len(seen), False, Broken(found, steps)
                    kept = self._canonical(found)
                    if kept in seen:
                        continue
                    seen.add(kept)
                    parents.append((at, slot, action, kept is not found))
                    ahead.append((kept, len(parents) - 1))
                if len(seen) > self.bound.states_max:
                    return len(seen), False, None
            frontier = ahead
        return len(seen), True, None

    def missed(self) -> list[str]:
        """Return what a run was to see and did not: without it, it would show nothing."""
        most, seen = budgets(self.bound), self.used.things
        missed = [
            f"no {budget.name}"
            for budget in Budget
            if most[budget] and not any(used[budget] for used in seen)
        ]
        if not any(history.led for history in self.histories.things):
            missed.append("no leader")
        if not any(log for history in self.histories.things for _, log in history.committed):
            missed.append("nothing committed")
        return missed

    def wander(self, seed: int, walks: int, length: int) -> tuple[int, Broken | None]:
        """Walk at random where all is too much; return how many steps, and what was broken."""
        dice, first, steps = random.Random(seed), self._first(), 0
        for _ in range(walks):
            state, story = first, list[str]()
            for _ in range(length):
                ahead = list(self._successors(state))
                if not ahead:
                    break
                steps += 1
                for slot, action, other in ahead:
                    if isinstance(other, str):
                        return steps, Broken(other, (*story, self._label(slot, action)))
                weights = [1 if action.kind in RARE else 20 for _, action, _ in ahead]
                ((slot, action, found),) = dice.choices(ahead, weights)
                story.append(self._label(slot, action))
                assert isinstance(found, State)
                state = found
        return steps, None

    def _first(self) -> State:
        seats = []
        for slot, me in enumerate(self.everybody):
            is_late = self.bound.late and slot == self.bound.voters - 1
            journal = None if is_late else first_promise(me, self.voters, None)
            node = Node(me, journal, ModelLog(), memory=self.bound.memory)
            node.claims = self.bound.claims
            if self.bound.old_disks:
                node.watch_disk(self.everybody)
            seats.append(self._seat(self._local(node), 0))
        used = (0,) * len(budgets(self.bound))
        return State(tuple(seats), self._history(History()), self.used.number(used, lambda: used))

    def _local(self, node: Node) -> int:
        before = len(self.locals.things)
        number = self.locals.number((node.me, picture(node)), lambda: dump(node))
        if number == before:
            self.me.append(node.me)
            self.dead.append(0)
            self.looked.append(0)
            self.possible.append(tuple(possible(node, self.bound)))
        return number

    def _look(self, local: int) -> Node:
        """Return a replica that is only to be looked at."""
        node = self.loaded.get(local)
        if node is None:
            if len(self.loaded) >= LOADED_MAX:
                self.loaded.clear()
            node = self.loaded[local] = load(self.locals.things[local])
        return node

    def _seat(self, local: int, inbox: int) -> int:
        """Return the seat's number; without what can never again change anything at it."""
        unseen = inbox & ~self.looked[local]
        if unseen:
            self.looked[local] |= unseen
            node = self._look(local)
            packets = self.packets[self._slot(local)].things
            for number in bits(unseen):
                packet = packets[number]
                if packet.to != node.me or is_dead(node, packet, quiet=self.bound.quiet):
                    self.dead[local] |= 1 << number
        key = (local, inbox & ~self.dead[local])
        before = len(self.seats.things)
        number = self.seats.number(key, lambda: key)
        if number == before:
            self.moves.append(None)
        return number

    def _slot(self, local: int) -> int:
        return self.me[local].node_id - 1

    def _history(self, history: History) -> int:
        return self.histories.number(history, lambda: history)

    def _successors(self, state: State) -> Iterator[tuple[int, Action, State | str]]:
        seats, history, used = state
        for slot, seat in enumerate(seats):
            moves = self.moves[seat]
            if moves is None:
                moves = self.moves[seat] = tuple(self._moves(seat))
            for move in moves:
                left = used
                if move.cost:
                    left = self._spend(used, move.cost, slot, move.action)
                    if left < 0:
                        continue
                after = list(seats)
                after[slot] = move.seat
                for to, packets in move.sent:
                    key = (after[to], packets)
                    added = self.added.get(key)
                    if added is None:
                        local, inbox = self.seats.things[after[to]]
                        added = self.added[key] = self._seat(local, inbox | packets)
                    after[to] = added
                if move.happened or move.fault:
                    judged = self._judge(history, move, slot, seat)
                    if isinstance(judged, str):
                        yield slot, move.action, judged
                        continue
                    yield slot, move.action, State(tuple(after), judged, left)
                else:
                    yield slot, move.action, State(tuple(after), history, left)

    def _spend(self, used: int, cost: int, slot: int, action: Action) -> int:
        """Return what is used up after an action; -1 if there is not enough for it."""
        is_campaign = action.kind in (Kind.CAMPAIGN, Kind.LAST_RESORT)
        if is_campaign and self._is_first_campaign(used) and not self._leads(slot):
            return -1
        found = self.spent.get((used, cost))
        if found is None:
            after = list(self.used.things[used])
            found = 0
            for budget in self.costs.things[cost]:
                most = budgets(self.bound)[budget]
                # An endless budget only tells whether it was used at all.
                after[budget] = 1 if most < 0 else after[budget] + 1
                if 0 <= most < after[budget]:
                    found = -1
            spent = tuple(after)
            found = found or self.used.number(spent, lambda: spent)
            self.spent[used, cost] = found
        return found

    def _is_first_campaign(self, used: int) -> bool:
        return self.used.things[used][Budget.CAMPAIGN] == 0

    def _leads(self, slot: int) -> bool:
        """Say whether a replica may be the first to campaign: of those that are alike, one is."""
        return self.bound.late or slot == 0

    def _judge(self, history: int, move: Move, slot: int, seat: int) -> int | str:
        if move.fault:
            return move.fault
        who = self.me[self.seats.things[seat][0]]
        key = (history, move.happened, who)
        found = self.judged.get(key)
        if found is None:
            judged: History | str = self.histories.things[history]
            for effect, log in self.happened.things[move.happened]:
                if isinstance(judged, History):
                    judged = judge(judged, effect, who, log)
            found = judged if isinstance(judged, str) else self._history(judged)
            self.judged[key] = found
        return found

    def _moves(self, seat: int) -> Iterator[Move]:
        local, inbox = self.seats.things[seat]
        actions = [Action(Kind.HEAR, number) for number in bits(inbox)]
        known = set()
        for action in (*actions, *self.possible[local]):
            for tried, outcome in self._outcomes(local, action):
                after = self._seat(outcome.local, inbox)
                move = Move(after, *outcome[1:5], tried)
                is_idle = after == seat and not (move.sent or move.happened or move.fault)
                if not is_idle and move[:5] not in known:
                    known.add(move[:5])
                    yield move

    def _outcomes(self, local: int, action: Action) -> tuple[tuple[Action, Outcome], ...]:
        found = self.outcomes.get((local, action))
        if found is None:
            found = self.outcomes[local, action] = tuple(self._try(local, action))
        return found

    def _try(self, local: int, action: Action) -> Iterator[tuple[Action, Outcome]]:
        """Yield what an action does, and what it does if a restart ends it half-way."""
        outcome, _ = self._outcome(local, action)
        if outcome.is_unnoticed:
            self.unnoticed += 1
            return
        yield action, outcome
        if not self.bound.crashes or action.kind in RESTARTS:
            return
        persists = 0
        while True:
            _, node = self._outcome(local, action._replace(persists=persists))
            if not node.queue or isinstance(node.queue[0], ev.Cut | ev.Empty | ev.Delete):
                return  # It came to an end by itself; a restart after that is another action.
            for kept in keepable(node):
                tried = action._replace(persists=persists, kept=kept)
                yield tried, self._outcome(local, tried, restart=True)[0]
            persists += 1

    def _outcome(
        self, local: int, action: Action, *, restart: bool = False
    ) -> tuple[Outcome, Node]:
        node = load(self.locals.things[local])
        happened: list[tuple[ev.Effect, Log]] = []
        sent: dict[int, int] = {}
        for effect in self._effects(node, action):
            if isinstance(effect, ev.Send):
                self._send(node, effect.to, effect.message, sent)
            elif isinstance(effect, HAPPENED):
                happened.append((effect, tuple(node.log.entries)))
        is_unnoticed = self._say_links(node, sent)
        if restart:
            node.crash(action.kept)
        fault = node.fault if self.bound.promises else ""
        node.fault = ""
        costs = action.costs if restart or action.persists < 0 else ()
        key = tuple(happened)
        outcome = Outcome(
            self._local(node) if restart or action.persists < 0 else -1,
            tuple(sorted(sent.items())),
            self.happened.number(key, lambda: key),
            self.costs.number(costs, lambda: costs),
            fault,
            is_unnoticed,
        )
        return outcome, node

    def _say_links(self, node: Node, sent: dict[int, int]) -> bool:
        """Send what links say by themselves; say whether an old disk takes part unnoticed."""
        words, node.links = node.links, []
        for receiver, word in words:
            for to in self.everybody if receiver is None else (receiver,):
                if to.node_id != node.me.node_id:
                    self._send(node, to, word, sent)
        return any(isinstance(word, Unnoticed) for _, word in words)

    def _send(
        self, node: Node, to: Replica, message: Message | LinkWord, sent: dict[int, int]
    ) -> None:
        if self.bound.quiet and isinstance(message, msg.Append):
            message = replace(message, high_watermark=0)
        standing = node.standing
        mark = standing.mark if standing and not isinstance(message, LinkMade | Answered) else None
        slot = to.node_id - 1
        sent[slot] = sent.get(slot, 0) | 1 << self._packet(Packet(node.me, to, message, mark))

    def _effects(self, node: Node, action: Action) -> Iterator[ev.Effect]:
        if action.kind is Kind.HEAR:
            packet = self.packets[node.me.node_id - 1].things[action.number]
            node.hear(packet.sender, packet.message, packet.mark)
        else:
            yield from perform(node, action, self.bound)
        slow = self.bound.slow_journal
        yield from node.run(slow=slow, persists=action.persists)
        while self.bound.crashes == 0 and node.log.syncing is not None:
            # Where nothing is ever lost, a slow sync is but a late acknowledgement.
            node.finish_sync()
            yield from node.run(slow=slow)

    def _packet(self, packet: Packet) -> int:
        return self.packets[packet.to.node_id - 1].number(packet, lambda: packet)

    def _canonical(self, state: State) -> State:
        """Return which of a state and its mirror image stands for both."""
        seats, history, used = state
        other = list(seats)
        for slot, seat in enumerate(seats):
            mirrored = self.mirrored.get(seat)
            if mirrored is None:
                mirrored = self._mirror(seat)
            other[self.swap[slot]] = mirrored
        image = tuple(other)
        if image < seats:
            return State(image, self._mirror_history(history), used)
        if image == seats:
            there = self._mirror_history(history)
            return State(image, there, used) if there < history else state
        return state

    def _mirror(self, seat: int) -> int:
        local, inbox = self.seats.things[seat]
        slot = self._slot(local)
        there = self.mirrored_local.get(local)
        if there is None:
            there = self._local(renamed(self._look(local), self.others))
            self.mirrored_local[local] = there
            self.mirrored_local[there] = local
        known = self.mirrored_packet[slot]
        packets = 0
        for number in bits(inbox):
            packet = known.get(number)
            if packet is None:
                packet = self._packet(renamed(self.packets[slot].things[number], self.others))
                known[number] = packet
            packets |= 1 << packet
        mirrored = self._seat(there, packets)
        self.mirrored[seat] = mirrored
        self.mirrored[mirrored] = seat
        return mirrored

    def _mirror_history(self, history: int) -> int:
        found = self.mirrored_history.get(history)
        if found is None:
            found = self._history(renamed(self.histories.things[history], self.others))
            self.mirrored_history[history] = found
            self.mirrored_history[found] = history
        return found

    def _story(
        self,
        parents: list[tuple[int, int, Action | None, bool]],
        at: int,
        last: tuple[int, Action],
    ) -> tuple[str, ...]:
        path: list[tuple[int, Action, bool]] = [(*last, False)]
        while at > 0:
            at, slot, action, mirrored = parents[at]
            assert action is not None
            path.append((slot, action, mirrored))
        lines, flipped = [], False
        for slot, action, mirrored in reversed(path):
            lines.append(self._label(slot, action, flipped=flipped))
            flipped ^= mirrored
        return tuple(lines)

    def _label(self, slot: int, action: Action, *, flipped: bool = False) -> str:
        """Say what happens; where `flipped`, by the names before two of them were swapped."""
        others = self.others if flipped else {}
        name = replica(self.swap[slot] if flipped else slot).directory_id
        said = label(action, names(self.bound), others)
        if action.kind is Kind.HEAR:
            packet = self.packets[slot].things[action.number]
            packet = renamed(packet, others)
            said = f"hears from {packet.sender.directory_id}: {packet.message}"
        if action.persists >= 0:
            said += f", restarts after {action.persists} writes to the journal"
        if action.persists >= 0 or action.kind in (Kind.CRASH, Kind.LOSE_MACHINE):
            said += f", and keeps {action.kept}"
        return f"{name} {said}"


def bits(number: int) -> Iterator[int]:
    """Yield the places of the bits that are set."""
    while number:
        yield (number & -number).bit_length() - 1
        number &= number - 1


RESTARTS = (Kind.CRASH, Kind.WIPE, Kind.LOSE_MACHINE, Kind.RESTORE)

HAPPENED = ev.Lead | ev.Committed | ev.Advanced | ev.Persist | ev.LossPossible
"""What a history is to know."""

RARE = {
    Kind.CAMPAIGN,
    Kind.RESEND,
    Kind.GIVE_UP,
    Kind.DISMISS,
    Kind.ADOPT,
    Kind.TOGGLE,
    Kind.CRASH,
    Kind.RECREATE,
    Kind.WIPE,
    Kind.LOSE_MACHINE,
    Kind.LAST_RESORT,
}
