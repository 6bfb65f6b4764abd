"""Every state that a few replicas can reach: the real machines, a lossy net, disks that forget.

What was sent may be delivered at any later time, any number of times, or never. Steps of a replica
are computed once for each of its states and each event; the rest is bookkeeping with numbers.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple, TypeVar

from mesh.replication import events as ev
from mesh.replication import messages as msg
from mesh.replication.candidate import Candidate
from mesh.replication.follower import Follower
from mesh.replication.leader import Leader
from mesh.replication.state import Entry, Replica, Term, first_promise
from storage.types import LeaderEpoch
from tests.mesh.replication.model_node import (
    NEVER_MS,
    ModelLog,
    Node,
    Packet,
    dump,
    load,
    picture,
)

Log = tuple[Entry, ...]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Bound:
    """How far a run goes. What is within is tried wholly, unless `states_max` cuts it."""

    name: str
    voters: int = 3
    epochs: int = 2
    entries: int = 2
    crashes: int = 0
    campaigns: int = 99
    reconfigurations: int = 0
    """Voters added or removed; who is none any more may be ordered to leave."""
    slow_journal: bool = False
    memory: bool = False
    resends: bool = True
    quiet: bool = False
    """Refusals get lost, and high watermarks do not travel; both may happen, neither must."""
    states_max: int = 20_000_000


class History(NamedTuple):
    """What happened so far, as far as it must hold later."""

    committed: tuple[tuple[LeaderEpoch, Log], ...] = ()
    """The longest that each leader reported as committed."""
    led: tuple[tuple[LeaderEpoch, int, Log], ...] = ()
    """Each leader, with the log that it began with."""


class Broken(NamedTuple):
    """An invariant that does not hold, and the steps that led there."""

    invariant: str
    steps: tuple[str, ...]


class Outcome(NamedTuple):
    """What a step of one replica did."""

    node: int
    sent: int
    """Bits of packets."""
    happened: tuple[tuple[ev.Effect, Log], ...]


class State(NamedTuple):
    """Numbers of: the replicas' states, the packets, the history; and what is used up."""

    nodes: tuple[int, ...]
    packets: int
    history: int
    used: tuple[int, ...]


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


CRASH, CAMPAIGN, RECONFIGURE = range(3)
KINDS = 3


def replica(index: int, life: int = 0) -> Replica:
    return Replica(index + 1, "abcdefg"[index] + "'" * life)


def prefix(shorter: Log, longer: Log) -> bool:
    return longer[: len(shorter)] == shorter


def judge(history: History, happened: ev.Effect, index: int, log: Log) -> History | str:
    """Take what a leader reported into the history; a text if it may not be."""
    match happened:
        case ev.Lead(leader_epoch=epoch):
            for other, who, _ in history.led:
                if other == epoch and who != index:
                    return f"two leaders in epoch {epoch}"
            led = (*history.led, (epoch, index, log))
            history = History(history.committed, tuple(sorted(led)))
        case ev.Committed(high_watermark=end):
            epoch = max(epoch for epoch, who, _ in history.led if who == index)
            if end > len(log):
                return "committed above the log's end"
            rest = tuple(item for item in history.committed if item[0] != epoch)
            history = History(tuple(sorted((*rest, (epoch, log[:end])))), history.led)
        case _:
            return history
    for epoch, committed in history.committed:
        for later, _, log_then in history.led:
            if later > epoch and not prefix(committed, log_then):
                return f"the leader of epoch {later} lacks what epoch {epoch} committed"
    for (_, left), (_, right) in itertools.combinations(history.committed, 2):
        if not prefix(left, right) and not prefix(right, left):
            return "two values at one offset"
    return history


class Explorer:
    """Breadth-first over all states within a bound."""

    def __init__(self, bound: Bound) -> None:
        self.bound = bound
        self.locals: Numbers[bytes] = Numbers()
        self.packets: Numbers[Packet] = Numbers()
        self.histories: Numbers[History] = Numbers()
        self.steps: dict[tuple[int, int], Outcome] = {}
        self.possible: list[tuple[tuple[int, int], ...]] = []
        """For each local state: actions, and the budget that each takes from (-1: none)."""
        self.dull: list[int] = []
        """For each local state: packets that change nothing in it."""
        self.dead: list[int] = []
        """For each local state: packets that never will change anything any more."""
        self.looked: list[int] = []
        self.me: list[Replica] = []
        self.to: dict[Replica, int] = {}
        """Packets for each receiver."""
        self.voters = tuple(replica(index) for index in range(bound.voters))

    def run(self) -> tuple[int, bool, Broken | None]:
        """Return how many states there are, whether all were seen, and what was broken first."""
        first = self._first()
        seen = {first}
        frontier = [(first, 0)]
        parents = [-1]
        actions: list[tuple[int, int]] = [(-1, 0)]
        while frontier:
            ahead: list[tuple[State, int]] = []
            for state, at in frontier:
                for node, action, found in self._successors(state):
                    if isinstance(found, str):
                        return (
                            len(seen),
                            False,
                            Broken(found, self._story(parents, actions, at, (node, action))),
                        )
                    if found in seen:
                        continue
                    seen.add(found)
                    parents.append(at)
                    actions.append((node, action))
                    ahead.append((found, len(parents) - 1))
                if len(seen) > self.bound.states_max:
                    return len(seen), False, None
            frontier = ahead
        return len(seen), True, None

    def wander(self, seed: int, walks: int, length: int) -> tuple[int, Broken | None]:
        """Walk at random where all is too much; return how many steps, and what was broken."""
        dice, first, steps = random.Random(seed), self._first(), 0
        for _ in range(walks):
            state, story = first, []
            for _ in range(length):
                ahead = list(self._successors(state))
                if not ahead:
                    break
                steps += 1
                rare = [
                    action in (ELECT, RESEND, GIVE_UP) or action < NAMED for _, action, _ in ahead
                ]
                weights = [1 if seldom else 20 for seldom in rare]
                ((node, action, found),) = dice.choices(ahead, weights)
                story.append((node, action))
                for node, action, other in ahead:
                    if isinstance(other, str):
                        story[-1] = (node, action)
                        return steps, Broken(other, tuple(self._label(*s) for s in story))
                assert isinstance(found, State)
                state = found
        return steps, None

    def _first(self) -> State:
        nodes = []
        for index in range(self.bound.voters):
            me = replica(index)
            node = Node(me, first_promise(me, self.voters, None), ModelLog())
            node.memory = self.bound.memory
            node.start()
            nodes.append(self._local(node))
        return State(tuple(nodes), 0, self._history(History()), (0,) * KINDS)

    def _local(self, node: Node) -> int:
        before = len(self.locals.things)
        number = self.locals.number((node.me, picture(node)), lambda: dump(node))
        if number == before:
            self.me.append(node.me)
            self.dull.append(0)
            self.dead.append(0)
            self.looked.append(0)
            self.possible.append(tuple(self._possible(node)))
        return number

    def _history(self, history: History) -> int:
        return self.histories.number(history, lambda: history)

    def _possible(self, node: Node) -> Iterator[tuple[int, int]]:
        """Yield what a replica may do by itself."""
        if node.queue:
            yield STEP, -1
        if node.log.syncing is not None:
            yield SYNC, -1
        for kept in range(node.log.durable, node.log.log_end_offset + 1):
            if not node.memory or kept == node.log.log_end_offset:
                yield CRASH_KEEPING + kept, CRASH
        bound, group = self.bound, node.group
        if group is None:
            return
        role = group.role
        if isinstance(role, Leader):
            if role.installed and node.log.log_end_offset < bound.entries:
                yield WRITE, -1
            if role.installed and bound.resends:
                yield RESEND, -1
                yield GIVE_UP, -1
            if role.installed and bound.reconfigurations:
                yield DISMISS, -1
                for number, voter in enumerate(self.voters):
                    if voter != node.me:
                        yield TOGGLE - number, RECONFIGURE
            return
        ready = isinstance(role, Follower | Leader) or role.stage != "syncing"
        if ready and group.leader_epoch + 1 < bound.epochs and group.holding.may_campaign:
            yield ELECT, CAMPAIGN

    def _successors(self, state: State) -> Iterator[tuple[int, int, State | str]]:
        for index, local in enumerate(state.nodes):
            waiting = state.packets & self.to.get(self.me[local], 0) & ~self.dull[local]
            while waiting:
                packet = (waiting & -waiting).bit_length() - 1
                waiting &= waiting - 1
                found = self._after(state, index, packet, -1)
                if found is not None:
                    yield index, packet, found
            for action, budget in self.possible[local]:
                if budget >= 0 and not self._allowed(state, index, budget):
                    continue
                found = self._after(state, index, action, budget)
                if found is not None:
                    yield index, action, found

    def _allowed(self, state: State, index: int, budget: int) -> bool:
        bound = self.bound
        most = (bound.crashes, bound.campaigns, bound.reconfigurations)
        if budget == CAMPAIGN and state.used[CAMPAIGN] == 0 and index != 0:
            return False  # Replicas are alike: whoever campaigns first is called the first.
        return state.used[budget] < most[budget]

    def _after(self, state: State, index: int, action: int, budget: int) -> State | str | None:
        local = state.nodes[index]
        outcome = self.steps.get((local, action))
        if outcome is None:
            outcome = self._step(local, index, action)
            self.steps[local, action] = outcome
        if outcome.node == local and not outcome.sent & ~state.packets and not outcome.happened:
            if action >= 0 and not outcome.sent:
                self.dull[local] |= 1 << action
            return None
        history = state.history
        for happened, log in outcome.happened:
            old = self.histories.things[history]
            judged = judge(old, happened, index, log)
            if isinstance(judged, str):
                return judged
            history = self._history(judged)
        nodes = (*state.nodes[:index], outcome.node, *state.nodes[index + 1 :])
        packets = self._alive(nodes, state.packets | outcome.sent)
        used = state.used
        if budget >= 0 and (budget != CAMPAIGN or used[CAMPAIGN] == 0 or self.bound.campaigns < 99):
            used = (*used[:budget], used[budget] + 1, *used[budget + 1 :])
        return State(nodes, packets, history, used)

    def _alive(self, nodes: Sequence[int], packets: int) -> int:
        """Leave out what can never again change anything at its receiver."""
        for local in nodes:
            unseen = packets & self.to.get(self.me[local], 0) & ~self.looked[local]
            if unseen:
                self.looked[local] |= unseen
                node = load(self.locals.things[local])
                while unseen:
                    packet = (unseen & -unseen).bit_length() - 1
                    unseen &= unseen - 1
                    if self._is_dead(node, packet):
                        self.dead[local] |= 1 << packet
            packets &= ~self.dead[local]
        return packets

    def _is_dead(self, node: Node, packet: int) -> bool:
        sender, _, message = self.packets.things[packet]
        return is_dead(node, message, sender, quiet=self.bound.quiet)

    def _step(self, local: int, index: int, action: int) -> Outcome:
        node = load(self.locals.things[local])
        if action >= 0:
            sender, _, message = self.packets.things[action]
            node.feed(ev.Received(sender, message))
        elif action < NAMED:
            node.crash(action - CRASH_KEEPING)
        else:
            self._act(node, action)
        sent = 0
        happened: list[tuple[ev.Effect, Log]] = []
        for effect in self._effects(node):
            if isinstance(effect, ev.Send):
                sent |= 1 << self._packet((node.me, effect.to, effect.message))
            elif isinstance(effect, ev.Lead | ev.Committed):
                happened.append((effect, tuple(node.log.entries)))
        return Outcome(self._local(node), sent, tuple(happened))

    def _effects(self, node: Node) -> Iterator[ev.Effect]:
        yield from node.run(slow=self.bound.slow_journal)
        while self.bound.crashes == 0 and node.log.syncing is not None:
            # Where nothing is ever lost, a slow sync is but a late acknowledgement.
            node.finish_sync()
            yield from node.run(slow=self.bound.slow_journal)

    def _act(self, node: Node, action: int) -> None:
        match action:
            case -1:
                node.step()
            case -2:
                node.finish_sync()
            case -3:
                node.write(node.me.node_id)
            case -4:
                node.feed(ev.Tick())
            case -5:
                elect(node)
            case -6:
                node.feed(ev.Stalled())
            case -7:
                node.feed(ev.Adopt(()))
            case _:
                assert node.group is not None
                voters = node.group.holding.promise.config.voters
                changed = set(voters) ^ {self.voters[TOGGLE - action]}
                node.feed(ev.Reconfigure(tuple(sorted(changed))))

    def _packet(self, packet: Packet) -> int:
        if self.bound.quiet and isinstance(packet[2], msg.Append):
            packet = (*packet[:2], replace(packet[2], high_watermark=0))
        number = self.packets.number(packet, lambda: packet)
        self.to[packet[1]] = self.to.get(packet[1], 0) | 1 << number
        return number

    def _story(
        self,
        parents: list[int],
        actions: list[tuple[int, int]],
        at: int,
        last: tuple[int, int],
    ) -> tuple[str, ...]:
        steps = [last]
        while at > 0:
            steps.append(actions[at])
            at = parents[at]
        return tuple(self._label(node, action) for node, action in reversed(steps))

    def _label(self, node: int, action: int) -> str:
        name = "abcdefg"[node]
        if action >= 0:
            sender, _, message = self.packets.things[action]
            return f"{name} hears from {sender.directory_id}: {message}"
        if action < NAMED:
            return f"{name} crashes and keeps {action - CRASH_KEEPING}"
        if action <= TOGGLE:
            return f"{name} changes whether {self.voters[TOGGLE - action].directory_id} votes"
        return f"{name} {NAMES[-action]}"


STEP, SYNC, WRITE, RESEND, ELECT, GIVE_UP, DISMISS = -1, -2, -3, -4, -5, -6, -7
TOGGLE = -100
CRASH_KEEPING, NAMED = -1000, -500
NAMES = (
    "",
    "carries on",
    "has synced",
    "appends",
    "repeats itself",
    "campaigns",
    "gives up",
    "dismisses",
)


def elect(node: Node) -> None:
    """Have a replica campaign as if everybody had encouraged it: that is never a promise."""
    group = node.group
    assert group is not None
    before = len(node.queue)
    node.feed(ev.Tick(), NEVER_MS)
    assert isinstance(group.role, Candidate)
    waiting = node.queue[before:]
    del node.queue[before:]
    node.queue += [effect for effect in waiting if not is_pre(effect)]
    promise = group.holding.promise
    for voter in promise.config.voters:
        role: object = group.role
        if isinstance(role, Candidate) and role.stage == "asking" and voter != node.me:
            epoch = promise.leader_epoch + 1
            yes = msg.VoteReply(epoch, True, True, epoch - 1, promise.config, 0)
            node.feed(ev.Received(voter, yes))


def is_pre(effect: ev.Effect) -> bool:
    return (
        isinstance(effect, ev.Send)
        and isinstance(effect.message, msg.VoteRequest)
        and effect.message.pre
    )


def is_dead(node: Node, message: msg.Message, sender: Replica, *, quiet: bool) -> bool:
    """Say whether a replica will ignore a message for ever, whatever happens to it.

    Its journal only moves forward, and a leadership or campaign that has ended never returns.

    Args:
        node: the receiver.
        message: what was sent.
        sender: by whom.
        quiet: whether refusals get lost, so that what would only be refused has no effect.
    """
    journal, group = node.journal, node.group
    if journal is None or group is None:
        return False
    role = group.role
    match message:
        case msg.VoteReply(granted=True):
            current = group.leader_epoch == message.leader_epoch
            if isinstance(role, Candidate) and role.stage == "voting" and current:
                return sender in role.grants
            return message.leader_epoch <= journal.leader_epoch
        case msg.Held() | msg.Mismatch() | msg.Left():
            if not isinstance(role, Leader) or role.leader_epoch != message.leader_epoch:
                return message.leader_epoch <= journal.leader_epoch
            known = role.others.get(sender)
            return (
                known is not None
                and isinstance(message, msg.Held)
                and known.session == message.session
                and known.log_end >= message.log_end
                and known.counted_end >= message.counted_end
                and known.config_id >= message.config_id
                and known.log_start_offset >= message.log_start_offset
                and not message.unsure
            )
        case msg.Campaign():
            return message.leader_epoch < journal.leader_epoch
        case msg.VoteReply() | msg.Refused():
            known_epoch = message.promised_epoch <= journal.leader_epoch
            return quiet or (known_epoch and message.config.id <= journal.config.id)
        case msg.VoteRequest():
            voted = message.leader_epoch == journal.leader_epoch and journal.voted_for != sender
            return quiet and (message.leader_epoch < journal.leader_epoch or voted)
        case msg.Append():
            return quiet and Term(message.leader_epoch, message.session) < journal.term
        case _:
            return False
