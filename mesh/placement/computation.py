"""Who should hold each partition: partitions in the order of their hashes, each takes its best.

Two passes over all of them. The first takes replicas: the most wanted node that has room and lies
where the spread over racks, then hosts, wants the next one. The second takes leaders: the most
wanted of the replicas that has room to lead. Where nobody has room, room is made by moving
somebody else's; a cap is exceeded only where that fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from xxhash import xxh3_64_intdigest

from mesh.model.types import NodeId, TopicPartition
from mesh.placement.nodes import Layout, Node, cap_of
from mesh.placement.scores import Scores, key_of

Wanted: TypeAlias = "Mapping[TopicPartition, int]"
"""By partition, how many replicas it wants, 0 or more."""
Placed: TypeAlias = "dict[TopicPartition, tuple[NodeId, ...]]"
"""By partition, the distinct nodes that should hold it; the first is the preferred leader."""

LOOKS_MAX = 4_000
"""How many exchanges are looked at, at least one node's, for one that finds no room: some 3 ms."""
LOOKS_PER_WORK = 20
"""How many of these take about as long as a partition that finds room."""


class Computation:
    """The map of all partitions, computed in slices. Same inputs, same map, whatever the slices."""

    def __init__(
        self, nodes: Iterable[Node], wanted: Wanted, *, after: Placed | None = None
    ) -> None:
        """Begin; nothing of the nodes' or the partitions' order matters.

        Args:
            nodes: all live members; those of weight 0 get nothing.
            wanted: how many replicas each partition is to have; it gets fewer if there are fewer
                nodes.
            after: what stays as it is; its partitions take room first. For a topic that is being
                created, which cannot wait for the whole map.

        Raises:
            ValueError: two nodes with one id, or a negative number of replicas.
        """
        self._layout = layout = Layout(nodes)
        self._scores = Scores(layout)
        size = len(layout.nodes)
        bad = [partition for partition, count in wanted.items() if count < 0]
        if bad:
            raise ValueError(f"{bad[0]} wants {wanted[bad[0]]} replicas; 0 is the least")
        after = {p: ids for p, ids in (after or {}).items() if p not in wanted}
        counts = Counter(min(count, size) for count in wanted.values())
        counts.update(min(len(ids), size) for ids in after.values())
        del counts[0]
        shares, leads = layout.division(counts)
        self._shares = list(zip(shares, leads, strict=True))
        self._caps, self._leader_caps = [*map(cap_of, shares)], [*map(cap_of, leads)]
        self._room, self._leader_room = self._caps.copy(), self._leader_caps.copy()
        keys = sorted((xxh3_64_intdigest(key := key_of(p)), key, p) for p in wanted)
        self._keys = [key for _, key, _ in keys]
        self._partitions = [p for _, _, p in keys]
        self._counts = [min(wanted[p], size) for p in self._partitions]
        self._sets: list[list[int]] = [[] for _ in keys]
        self._leads = [-1] * len(keys)
        self._held: list[dict[int, None]] = [{} for _ in range(size)]
        self._led: list[dict[int, None]] = [{} for _ in range(size)]
        deepest = max(self._counts, default=0)
        self._rack_levels = [layout.rack_level(already) for already in range(deepest)]
        self._take(after)
        self._next = self._work = 0
        self.exchanged_count = 0
        """Replicas of others that were moved to make room."""
        self.exceeded_count = 0
        """Replicas and leaders above a cap, because no room could be made."""

    def _take(self, after: Placed) -> None:
        index_of = {node.node_id: index for index, node in enumerate(self._layout.nodes)}
        for ids in after.values():
            for place, node_id in enumerate(ids):
                if (index := index_of.get(node_id)) is not None:
                    self._room[index] -= 1
                    self._leader_room[index] -= place == 0

    @property
    def done(self) -> bool:
        """Whether `placed` may be asked."""
        return self._next >= 2 * len(self._keys)

    def step(self, count: int) -> bool:
        """Do a piece of at most so many partitions in a pass of two; return whether all is done.

        Partitions for which room must be made count for more, so that a piece takes about as long.
        One of the first pass costs some 5 µs at 10 nodes and 15 to 30 µs at 100, of the second 2.
        """
        end = 2 * len(self._keys)
        self._work = 0
        while self._next < end and self._work < count:
            self._work += 1
            if self._next < len(self._keys):
                self._choose(self._next)
            else:
                self._choose_leader(self._next - len(self._keys))
            self._next += 1
        return self.done

    def placed(self) -> Placed:
        """Return the map; a partition gets `()` if there are no nodes.

        Raises:
            ValueError: it is not done.
        """
        if not self.done:
            raise ValueError("placement is not computed yet: call step until it says so")
        ids = [node.node_id for node in self._layout.nodes]
        result: Placed = {}
        for partition, chosen, lead in zip(self._partitions, self._sets, self._leads, strict=True):
            if chosen and chosen[0] != lead:
                chosen = [lead, *(one for one in chosen if one != lead)]
            result[partition] = tuple([ids[index] for index in chosen])
        return result

    def caps(self) -> dict[NodeId, tuple[int, int]]:
        """Return by node how many replicas, and how many leaders, it may get."""
        pairs = zip(self._layout.nodes, self._caps, self._leader_caps, strict=True)
        return {node.node_id: (cap, leader_cap) for node, cap, leader_cap in pairs}

    def shares(self) -> dict[NodeId, tuple[float, float]]:
        """Return by node how many replicas, and how many leaders, it should have on average."""
        ids = (node.node_id for node in self._layout.nodes)
        return dict(zip(ids, self._shares, strict=True))

    # Replicas

    def _choose(self, number: int) -> None:
        rack_of, host_of, room = self._layout.rack_of, self._layout.host_of, self._room
        order = self._scores.order(self._keys[number], self._counts[number])
        chosen = self._sets[number]
        racks: dict[int, int] = {}
        hosts: dict[int, int] = {}
        for already in range(self._counts[number]):
            # Nearly always there is a fresh host in a rack that is due, and it has room.
            due = self._rack_levels[already]
            for index in order:
                if (
                    room[index] > 0
                    and host_of[index] not in hosts
                    and racks.get(rack_of[index], 0) == due
                ):
                    break
            else:
                index = self._find(number, order, racks, hosts)
            chosen.append(index)
            room[index] -= 1
            self._held[index][number] = None
            racks[rack_of[index]] = racks.get(rack_of[index], 0) + 1
            hosts[host_of[index]] = hosts.get(host_of[index], 0) + 1

    def _find(
        self, number: int, order: list[int], racks: dict[int, int], hosts: dict[int, int]
    ) -> int:
        """Return the best node of those that spread best, with room that is made if need be."""
        layout, room = self._layout, self._room
        chosen = self._sets[number]
        levels = [
            (racks.get(layout.rack_of[index], 0), hosts.get(layout.host_of[index], 0), index)
            for index in order
            if index not in chosen
        ]
        least = min(levels)[:2]
        fitting = [index for rack, host, index in levels if (rack, host) == least]
        for index in fitting:
            if room[index] > 0:
                return index
        if (made := self._make_room(fitting)) is not None:
            return made
        self.exceeded_count += 1
        # The one that is least above its cap; of equals the most wanted.
        return max(fitting, key=lambda index: room[index] / self._caps[index])

    def _make_room(self, full: list[int]) -> int | None:
        """Move one replica of another partition away from one of some full nodes."""
        room = self._room
        free = [index for index in range(len(room)) if room[index] > 0]
        looks = 0
        for index in full:
            # The last that came would be the first to go had all come at once.
            for other in reversed(self._held[index]):
                holders = self._sets[other]
                rest = [one for one in holders if one != index]
                for target in free:
                    looks += 1
                    if target not in rest and self._as_spread(rest, index, target):
                        self._sets[other] = [*rest, target]
                        del self._held[index][other]
                        self._held[target][other] = None
                        room[index] += 1
                        room[target] -= 1
                        self.exchanged_count += 1
                        self._work += looks // LOOKS_PER_WORK
                        return index
                if looks > LOOKS_MAX:
                    break
        self._work += looks // LOOKS_PER_WORK
        return None

    def _as_spread(self, rest: list[int], index: int, target: int) -> bool:
        """Return whether a replica set is spread no worse with one node than with another."""
        rack_of, host_of = self._layout.rack_of, self._layout.host_of
        rack, target_rack = rack_of[index], rack_of[target]
        if rack != target_rack:
            racks = [rack_of[one] for one in rest]
            more = racks.count(target_rack) - racks.count(rack)
            if more:
                return more < 0
        hosts = [host_of[one] for one in rest]
        return hosts.count(host_of[target]) <= hosts.count(host_of[index])

    # Leaders

    def _choose_leader(self, number: int) -> None:
        chosen = self._sets[number]
        if not chosen:
            return
        # An exchange may have changed it since it was taken in this order.
        order = self._sets[number] = self._scores.best(self._keys[number], chosen)
        for index in order:
            if self._leader_room[index] > 0:
                self._lead(number, index)
                return
        self._lead(number, self._make_leader_room(order))

    def _lead(self, number: int, index: int) -> None:
        before = self._leads[number]
        if before >= 0:
            self._leader_room[before] += 1
            del self._led[before][number]
        self._leads[number] = index
        self._leader_room[index] -= 1
        self._led[index][number] = None

    def _make_leader_room(self, full: list[int]) -> int:
        """Hand leaderships on along the shortest chain that ends where there is room."""
        came: dict[int, tuple[int, int]] = dict.fromkeys(full, (-1, -1))
        queue = full.copy()
        for index in queue:
            for other in self._led[index]:
                for target in self._sets[other]:
                    if target in came:
                        continue
                    came[target] = (index, other)
                    queue.append(target)
                    if self._leader_room[target] > 0:
                        while (step := came[target])[0] >= 0:
                            self._lead(step[1], target)
                            target = step[0]
                        return target
        self.exceeded_count += 1
        return max(full, key=lambda index: self._leader_room[index] / self._leader_caps[index])


def place(nodes: Iterable[Node], wanted: Wanted, *, after: Placed | None = None) -> Placed:
    """Compute a whole map at once; see `Computation`."""
    computation = Computation(nodes, wanted, after=after)
    while not computation.step(1_000_000):
        pass
    return computation.placed()


def replicas(nodes: Iterable[Node], partition: TopicPartition, count: int) -> tuple[NodeId, ...]:
    """Return the nodes that one partition wants where nobody lacks room, the most wanted first."""
    return place(nodes, {partition: count})[partition]
