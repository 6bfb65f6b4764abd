"""What a run shows besides its verdict: how views converge, when crashes are found, load."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mesh.gossip import Changed, Gossip, State
from simulations.gossip_mesh import GossipMesh, VirtualNode

STEP_US = 200_000
SAMPLES_MAX = 20_000
DETECTIONS_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Record:
    """Figures of one run."""

    convergence: tuple[tuple[float, float], ...] = ()
    """(second, share of the running nodes that believe what most of them do), every 0.2 s."""
    marks: tuple[tuple[float, str], ...] = ()
    """(second, what happened)."""
    detections_s: tuple[float, ...] = ()
    """From the end of a process until each of the others believed it dead."""
    load: tuple[tuple[float, float], ...] = ()
    """(messages, bytes) that each node sent a second."""


class Recorder:
    """Looks at a mesh while it runs, without any part in it."""

    def __init__(self, mesh: GossipMesh) -> None:
        """Begin to look."""
        self._mesh = mesh
        self._convergence: list[tuple[float, float]] = []
        self._marks: list[tuple[float, str]] = []
        self._detections_s: list[float] = []
        mesh.watchers.append(self._changed)

    def mark(self, what: str) -> None:
        """Note that something happens now."""
        self._marks.append((self._mesh.world.now_us / 1e6, what))

    def run_until(self, until_us: int) -> None:
        """Let the world go on in steps, with a look after each."""
        world = self._mesh.world
        while world.now_us < until_us:
            world.run_until(min(until_us, world.now_us + STEP_US))
            self._look()

    def record(self) -> Record:
        """Return what was seen."""
        seconds = max(1, self._mesh.world.now_us) / 1e6
        nodes = self._mesh.nodes.values()
        return Record(
            tuple(self._convergence),
            tuple(self._marks),
            tuple(self._detections_s),
            tuple(
                (round(node.datagrams_sent / seconds, 3), round(node.bytes_sent / seconds, 1))
                for node in nodes
            ),
        )

    def _look(self) -> None:
        hashes: Counter[int] = Counter()
        for node in self._mesh.nodes.values():
            if node.up and isinstance(node.machine, Gossip):
                hashes[node.machine.view_hash] += 1
        if hashes and len(self._convergence) < SAMPLES_MAX:
            ((_, most),) = hashes.most_common(1)
            self._convergence.append((self._mesh.world.now_us / 1e6, most / hashes.total()))

    def _changed(self, node: VirtualNode, change: Changed) -> None:
        before, after, _ = change
        if after.state is not State.DEAD or (before is not None and before.state is State.DEAD):
            return
        subject = self._mesh.nodes.get(after.node_id)
        if subject is None or subject.up or len(self._detections_s) >= DETECTIONS_MAX:
            return
        if subject.ended_us is not None:
            self._detections_s.append((self._mesh.world.now_us - subject.ended_us) / 1e6)
