"""From the placement that this node computes to what its leaders do: adopt, change, hand over.

Nothing here is a proof. A partition's leader takes one step at a time towards what the placement
desires; the group itself refuses what is not safe yet, and is asked again.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mesh.model.names import REGISTRY_TOPIC
from mesh.model.types import NodeId, TopicPartition
from mesh.placement import (
    Computation,
    Node,
    NodesSeen,
    PartitionsChanged,
    Placed,
    Recompute,
    Steering,
    Woken,
    place,
)
from mesh.registry import voter_count_of
from mesh.replication import Replica
from mesh.replication import events as ev
from mesh.replication.leader import Leader

if TYPE_CHECKING:
    from mesh.broker.partition import Partition

STEP_MS = 100
"""Between looks at what is not as desired."""
SLICE = 2_000
"""Partitions of a computation done at a time: some 10 to 30 ms."""
PREFERRED_MS = 60_000
"""A leader that is not the preferred one hands over after so long, not while things move."""
PREFERRED_STEP_MS = 1_000
"""Between looks at whether the preferred leader is there again."""
HAND_OVERS_MAX = 20
"""Hand-overs to preferred leaders begun at a time."""


class Candidates(NamedTuple):
    """What is known of the replicas of one partition when its voters are looked at."""

    me: Replica
    voters: tuple[Replica, ...]
    wanted: tuple[Replica, ...]
    """Who should vote."""
    ready: Collection[Replica]
    """Who has caught up."""
    alive: Collection[Replica]
    """Who is there."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """This node should not vote there any more: somebody else is to lead first."""

    target: Replica


def next_voters(seen: Candidates) -> tuple[Replica, ...] | HandOver | None:
    """Return the next voters, one more or one less than now; None while there is nothing to do.

    A dead voter goes before the one that replaces it comes; a live one after. Either goes only if
    most of the others are there and have caught up: otherwise the group could not go on without it.
    Between one voter and three there are two only for as long as it takes.
    """
    voters, wanted = seen.voters, seen.wanted
    ready = [one for one in wanted if one not in voters and one in seen.ready]
    extra = [one for one in voters if one not in wanted]
    dead = [one for one in extra if one not in seen.alive and one != seen.me]
    if dead and (ready or len(voters) > len(wanted)):
        return _without(dead[-1], seen)
    if extra and len(voters) > len(wanted):
        others = [one for one in extra if one != seen.me]
        if others:
            return _without(others[-1], seen)
        heirs = [one for one in wanted if one in voters and one in seen.ready]
        return HandOver(heirs[0]) if heirs else None
    if ready and (extra or len(voters) % 2 == 0 or len(ready) > 1):
        return (*voters, ready[0])
    return None


def _without(gone: Replica, seen: Candidates) -> tuple[Replica, ...] | None:
    left = tuple(one for one in seen.voters if one != gone)
    there = sum(one == seen.me or one in seen.ready for one in left)
    return left if 2 * there > len(left) else None


class Mover:
    """Of one node. Instants are of the monotonic clock."""

    def __init__(self, me: Replica, is_there: Callable[[NodeId], bool]) -> None:
        """Knowing nobody and desiring nothing.

        Args:
            me: this node with its directory.
            is_there: whether a node's link is open both ways.
        """
        self.me = me
        self._is_there = is_there
        self._steering = Steering()
        self._computation: Computation | None = None
        self.nodes: tuple[Node, ...] = ()
        """Those that partitions are placed on."""
        self.directories: dict[NodeId, str] = {}
        self.draining: frozenset[NodeId] = frozenset()
        """Who is about to stop, or gives away what it holds."""
        self.placed: Placed = {}
        self.assigned: Placed = {}
        """Where somebody wants partitions to be, whatever placement desires."""
        self._giving_away: frozenset[NodeId] = frozenset()
        """Those of `draining` that will not come back."""
        self._everybody: dict[NodeId, str] = {}
        self.paused = False
        """Whether no replica is brought to another node for the time being."""
        self._pending: dict[Partition, int] = {}
        """What is led here and is not as desired, as far as was looked: when to look again."""
        self._step_at_ms: int | None = None
        self._led_at_ms: dict[Partition, int] = {}
        self._wanted: dict[TopicPartition, int] = {}

    # What is known

    def members(
        self,
        nodes: Iterable[Node],
        directories: Mapping[NodeId, str],
        everybody: Mapping[NodeId, str],
        draining: frozenset[NodeId],
        now_ms: int,
    ) -> None:
        """These nodes are members that may hold partitions.

        Args:
            nodes: as placement sees them.
            directories: of these.
            everybody: the directories of all members, those that are dead for long among them.
            draining: who is about to stop.
            now_ms: monotonic clock.
        """
        self.nodes = tuple(sorted(nodes))
        weightless = frozenset(node.node_id for node in self.nodes if not node.weight)
        # If all are, there is nobody to give anything to.
        self._giving_away = weightless if len(weightless) < len(self.nodes) else frozenset()
        self.directories, self.draining = dict(directories), draining | self._giving_away
        self._everybody = dict(everybody)
        self._steer(self._steering.on(NodesSeen(self.nodes), now_ms), now_ms)

    def partitions(
        self, wanted: Mapping[TopicPartition, int], assigned: Placed, now_ms: int
    ) -> None:
        """So many replicas of each partition are wanted; some are to be on certain nodes."""
        if assigned != self.assigned:
            self.assigned = assigned
            self._pending |= dict.fromkeys(self._led_at_ms, now_ms)
            self._wake(now_ms)
        if wanted == self._wanted:
            return
        self._wanted = dict(wanted)
        most = max(wanted.values(), default=0)
        self._steer(self._steering.on(PartitionsChanged(most), now_ms), now_ms)

    def pause(self, now_ms: int, *, paused: bool) -> None:
        """Begin no copies to other nodes any more, or go on."""
        if self.paused and not paused:
            self._wake(now_ms)
        self.paused = paused

    def choose(self, topic: str, indexes: Sequence[int], count: int) -> list[tuple[NodeId, ...]]:
        """Return the nodes that new partitions of a topic begin on, who is there among them."""
        nodes = [
            node
            for node in self.nodes
            if node.node_id == self.me.node_id
            or (self._is_there(node.node_id) and node.node_id in self.directories)
        ]
        wanted = {TopicPartition(topic, index): count for index in indexes}
        chosen = place(nodes, wanted, after=self.placed)
        self.placed = {**self.placed, **chosen}
        return [chosen[TopicPartition(topic, index)] for index in indexes]

    def _steer(self, effects: Iterable[object], now_ms: int) -> None:
        for effect in effects:
            if isinstance(effect, Recompute):
                self._computation = Computation(effect.nodes, self._wanted)
                self._wake(now_ms)

    def _wake(self, at_ms: int) -> None:
        if self._step_at_ms is None or at_ms < self._step_at_ms:
            self._step_at_ms = at_ms

    # Time

    def led(self, partition: Partition, now_ms: int) -> None:
        """This node leads a partition from now on."""
        self._led_at_ms[partition] = now_ms
        self._pending[partition] = now_ms
        self._wake(now_ms)

    def ended(self, partition: Partition) -> None:
        """This node leads a partition no more."""
        self._led_at_ms.pop(partition, None)
        self._pending.pop(partition, None)

    def look_again(self, partition: Partition, now_ms: int) -> None:
        """Something of a partition that is led here may not be as desired any more."""
        if partition in self._led_at_ms:
            self._pending[partition] = now_ms
            self._wake(now_ms)

    @property
    def wake_at_ms(self) -> int | None:
        """When `step` is due."""
        due = [at for at in (self._step_at_ms, self._steering.wake_at_ms) if at is not None]
        return min(due, default=None)

    def step(self, now_ms: int) -> list[tuple[Partition, ev.Event]]:
        """Compute on, and return what groups are to be told."""
        if (at_ms := self._steering.wake_at_ms) is not None and at_ms <= now_ms:
            self._steer(self._steering.on(Woken(), now_ms), now_ms)
        if self._step_at_ms is None or now_ms < self._step_at_ms:
            return []
        self._step_at_ms = None
        if self._computation is not None:
            if not self._computation.step(SLICE):
                self._wake(now_ms)
                return []
            self.placed, self._computation = self._computation.placed(), None
            self._pending |= dict.fromkeys(self._led_at_ms, now_ms)
        commands: list[tuple[Partition, ev.Event]] = []
        hand_overs = 0
        for partition, at_ms in list(self._pending.items()):
            if at_ms > now_ms:
                continue
            command, pause_ms = self._look(partition, now_ms)
            if pause_ms is None:
                del self._pending[partition]
                continue
            self._pending[partition] = now_ms + pause_ms
            if isinstance(command, ev.HandOver):
                hand_overs += 1
                if hand_overs > HAND_OVERS_MAX:
                    continue
                self._led_at_ms[partition] = now_ms  # If it fails, not again at once.
            if command is not None:
                commands.append((partition, command))
        if self._pending:
            self._wake(min(self._pending.values()))
        return commands

    # One partition

    def desired(self, name: TopicPartition) -> tuple[Replica, ...]:
        """Return the replicas that should hold a partition, the one that should lead first."""
        known = self._everybody if name in self.assigned else self.directories
        return tuple(Replica(one, known[one]) for one in self._wished(name) if one in known)

    def desired_nodes(self, partition: Partition) -> Sequence[NodeId]:
        """Return the nodes that should hold a partition, the one that should lead first."""
        return self._wished(partition.name)

    def _wished(self, name: TopicPartition) -> tuple[NodeId, ...]:
        """Return what somebody wished, with others in the place of those that go; or placement."""
        wished = self.assigned.get(name)
        if wished is None:
            return tuple(self.placed.get(name, ()))
        able = self.directories.keys() - self._giving_away
        stay = tuple(one for one in wished if one in able)
        # Placement does not look at what somebody wished. Whoever leads picks the same ones.
        others = sorted(able.difference(wished), key=lambda one: _draw(name, one))
        found = (*stay, *others[: len(wished) - len(stay)])
        return found if len(found) == len(wished) else tuple(wished)

    def _look(self, partition: Partition, now_ms: int) -> tuple[ev.Event | None, int | None]:
        """Return the next step, and after how long to look again; None twice: it is as desired."""
        role = partition.group.role
        if not isinstance(role, Leader) or not role.installed:
            return None, None
        desired = self.desired(partition.name)
        if not desired:
            return None, None
        voters = partition.group.holding.promise.config.voters
        wanted = desired[: voter_count_of(len(desired))]
        # Nothing is copied to who leaves; what it has it keeps: it may only be started again.
        learners = [
            one
            for one in desired
            if one not in voters and (one in role.others or one.node_id not in self.draining)
        ]
        if partition.topic == REGISTRY_TOPIC:  # Every member follows it.
            everybody = (Replica(*item) for item in sorted(self.directories.items()))
            learners = [one for one in everybody if one not in voters]
        present = [one for one in role.others if one not in voters]
        missing = [one for one in learners if one not in present]
        strays = role.strays
        if strays or (missing and not self.paused) or any(one not in learners for one in present):
            if self.paused:
                learners = [one for one in learners if one in present or one in strays]
            is_new = any(one not in role.leaving for one in missing)
            if strays or is_new or len(present) > len(learners):
                return ev.Adopt(tuple(learners)), STEP_MS
        there = {one for one in (*voters, *desired) if self._is_up(one)}
        ready = {
            one for one in there if one == self.me or self._has_caught_up(role, one, partition)
        }
        # The map is computed anew only once the view is still; who leaves is nobody's new voter
        # from now on. It goes as soon as it holds nothing, and would be waited for.
        ready = {one for one in ready if one in voters or one.node_id not in self.draining}
        step = next_voters(Candidates(self.me, voters, wanted, ready, there))
        if isinstance(step, HandOver):
            return ev.HandOver(step.target), STEP_MS
        if step is not None:
            return ev.Reconfigure(step), STEP_MS
        if set(voters) != set(wanted) or missing:
            return None, STEP_MS
        return self._prefer(partition, desired[0], ready, now_ms)

    def _prefer(
        self, partition: Partition, preferred: Replica, ready: Collection[Replica], now_ms: int
    ) -> tuple[ev.Event | None, int | None]:
        """Let the preferred leader lead, once all has been quiet for a while."""
        if preferred == self.me:
            return None, None
        due_ms = self._led_at_ms.get(partition, now_ms) + PREFERRED_MS
        if due_ms <= now_ms and preferred in ready and preferred.node_id not in self.draining:
            return ev.HandOver(preferred), STEP_MS
        return None, max(due_ms - now_ms, PREFERRED_STEP_MS)

    def _is_up(self, replica: Replica) -> bool:
        return replica == self.me or self._is_there(replica.node_id)

    def _has_caught_up(self, role: Leader, replica: Replica, partition: Partition) -> bool:
        progress = role.others.get(replica)
        return progress is not None and progress.counted_end >= max(
            partition.high_watermark, role.epoch_start
        )


def _draw(name: TopicPartition, node_id: NodeId) -> int:
    return zlib.crc32(f"{name}/{node_id}".encode())
