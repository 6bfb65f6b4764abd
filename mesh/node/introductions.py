"""How a link begins: who is at its ends, what each knows of the other, who may take part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from mesh.links import Hello, Mark, Welcome
from mesh.model.types import NodeId
from mesh.replication import standing as st

FILE_NAME = "heard-marks"
_HEAD = "# How far the journals of other nodes were when they were last heard of.\n"


class Introductions:
    """Of one node; holds what decides once for all its groups whether it takes part."""

    def __init__(
        self,
        cluster_id: bytes,
        node_id: NodeId,
        directory_id: bytes,
        standing: st.Standing,
        round_: Callable[[], int],
    ) -> None:
        """Before anything was said.

        Args:
            cluster_id: 16 bytes.
            node_id: our own.
            directory_id: 16 bytes.
            standing: with what the disk held at this start.
            round_: the last round of our journal that is on disk.
        """
        self.cluster_id = cluster_id
        self.node_id = node_id
        self.directory_id = directory_id
        self.standing = standing
        self._round = round_

    @property
    def mark(self) -> Mark:
        """What our frames say of our journal."""
        return Mark(self.standing.mark.start, self._round())

    def hello(self, to_node_id: NodeId, address: str) -> Hello:
        """Return what a link to a node begins with."""
        start = self.standing.mark.start
        return Hello(self.cluster_id, self.node_id, self.directory_id, start, address, to_node_id)

    def answer(self, hello: Hello, holders: Mapping[str, NodeId]) -> Welcome | str:
        """Return the answer to whoever opens a link: a welcome, or why there is none.

        Args:
            hello: what it said.
            holders: node ids by directory id, as the registry has them.
        """
        directory_id = str(UUID(bytes=hello.directory_id))
        if hello.cluster_id != self.cluster_id:
            return "is of another mesh"
        if hello.to_node_id != self.node_id:
            return f"looks for node {hello.to_node_id}, and this is node {self.node_id}"
        if hello.node_id == self.node_id:
            return f"calls itself node {self.node_id}, as this node does"
        if holders.get(directory_id, hello.node_id) != hello.node_id:
            return f"is node {holders[directory_id]}, and calls itself {hello.node_id}"
        if directory_id not in holders and hello.node_id in holders.values():
            return f"calls itself node {hello.node_id}, which another directory is"
        known = self.standing.known.get(directory_id, st.NO_MARK)
        start = self.standing.mark.start
        return Welcome(self.node_id, self.directory_id, start, *known)

    def heard(self, directory_id: str, mark: Mark, now_ms: int) -> list[st.Effect]:
        """A frame told how far a node's journal is."""
        return self.standing.on(st.Heard(directory_id, st.Mark(*mark)), now_ms)

    def welcomed(self, welcome: Welcome, now_ms: int) -> list[st.Effect]:
        """A node let our link in, and told what it remembers of our journal."""
        mark = self.standing.mark
        self.standing.mark = st.Mark(mark.start, max(mark.round, self._round()))
        known = st.Mark(welcome.known_start, welcome.known_round)
        return self.standing.on(st.Answered(known), now_ms)

    def tick(self, now_ms: int) -> list[st.Effect]:
        """Let what was heard be written down, if it is time."""
        return self.standing.on(st.Tick(), now_ms)


def encode_marks(marks: tuple[tuple[str, st.Mark], ...]) -> bytes:
    """Return the file in which marks are kept."""
    lines = [f"{directory_id} {mark.start} {mark.round}\n" for directory_id, mark in marks]
    return (_HEAD + "".join(lines)).encode()


def decode_marks(data: bytes) -> dict[str, st.Mark]:
    """Return what such a file holds; lines that are none are passed over: it is best effort."""
    marks = {}
    for line in data.decode("ascii", "replace").splitlines():
        parts = line.split()
        if len(parts) == 3 and all(part.isdecimal() for part in parts[1:]):
            marks[parts[0]] = st.Mark(int(parts[1]), int(parts[2]))
    return marks
