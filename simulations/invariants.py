"""What must hold of a membership: after every event, and at rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from mesh.gossip import Changed, Gossip, State, Value
from mesh.gossip.messages import rank_of
from simulations.gossip_mesh import GossipMesh, VirtualNode

TIMERS_MAX, TIMERS_PER_MEMBER = 100, 40
"""Of one machine: steps of news, ends of suspicions and tombstones."""
VIOLATIONS_MAX = 20


class Invariants:
    """Watches one mesh; what it finds is in `violations`, a sentence each, with the time."""

    def __init__(self, mesh: GossipMesh) -> None:
        """Begin to watch."""
        self._mesh = mesh
        self.violations: list[str] = []
        self._maps: dict[tuple[int, int, int], Mapping[str, Value]] = {}
        """What each owner wrote: (node, start, version) → its map."""
        self.counts: Counter[str] = Counter()
        """Deaths of those who ran, of those who did not, returns …: how often."""
        mesh.watchers.append(self._changed)
        mesh.after_event.append(self._bounded)

    def _violated(self, text: str) -> None:
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(f"at {self._mesh.world.now_us / 1e6:.3f} s: {text}")

    def _changed(self, node: VirtualNode, change: Changed) -> None:
        before, after, _ = change
        subject = after.node_id
        if before is not None:
            old = (before.start, before.incarnation, rank_of(before))
            new = (after.start, after.incarnation, rank_of(after))
            if new < old:
                self._violated(f"node {node.node_id} went back on node {subject}: {old} to {new}")
            if after.start == before.start and after.version < before.version:
                self._violated(f"node {node.node_id} took an older map of node {subject}")
        key = (subject, after.start, after.version)
        if subject == node.node_id:
            self._maps[key] = after.entries
        elif (written := self._map_of(key)) is not None and written != after.entries:
            self._violated(f"node {node.node_id} believes a map that node {subject} never wrote")
        if after.state is State.DEAD and (before is None or before.state is not State.DEAD):
            target = self._mesh.nodes.get(subject)
            self.counts["deaths"] += 1
            runs = target is not None and target.up and target.start == after.start
            self.counts["false_deaths"] += runs and target is not None and not target.paused

    def _map_of(self, key: tuple[int, int, int]) -> Mapping[str, Value] | None:
        node_id, _, version = key
        if version == 1 and node_id in self._mesh.nodes:
            return self._mesh.nodes[node_id].entries
        return self._maps.get(key)

    def _bounded(self, node: VirtualNode) -> None:
        machine = node.machine
        if not isinstance(machine, Gossip) or node.events % 64:
            return
        load = machine.load
        members = load["members"]
        for name in ("suspicions", "news", "newest", "probes", "misses"):
            if load[name] > members + 256:
                self._violated(f"node {node.node_id} holds {load[name]} {name}")
        if load["timers"] > TIMERS_MAX + TIMERS_PER_MEMBER * members:
            self._violated(f"node {node.node_id} holds {load['timers']} timers")
        if load["calls"] > 64:
            self._violated(f"node {node.node_id} holds {load['calls']} calls")

    # At rest

    def differences(self) -> list[str]:
        """Return what keeps the mesh from being at rest: nothing, if all is as it should be."""
        running = {
            node_id: node.machine
            for node_id, node in self._mesh.nodes.items()
            if node.up and isinstance(node.machine, Gossip)
        }
        found = []
        for node_id, machine in running.items():
            for other in running:
                state = machine.state_of(other)
                if state is not State.ALIVE:
                    word = "nothing" if state is None else state.name.lower()
                    found.append(f"node {node_id} believes {word} of node {other}, which is well")
            for one in machine.live():
                if one not in running:
                    found.append(f"node {node_id} believes node {one} alive, which is not")
        if not found and len({machine.view_hash for machine in running.values()}) > 1:
            found.append("views differ")
        return found

    def at_rest(self) -> None:
        """Hold the mesh against what it must be once all faults are over for long enough."""
        for text in self.differences()[:5]:
            self._violated(text)
