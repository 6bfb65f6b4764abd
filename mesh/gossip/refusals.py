"""What one machine refuses of others, and others of it: said, told, and not too often."""

from __future__ import annotations

import cbor2

from mesh.gossip.context import Context
from mesh.gossip.effects import Refused, Send, Sought
from mesh.gossip.member import State
from mesh.gossip.messages import CLASHES, FOREIGN, PING, REFUSE
from mesh.gossip.seldom import Seldom
from mesh.model.types import NodeId

REFUSALS_MS = 10_000
"""What is refused of one source is told, to it and to people, so often at most."""
REFUSALS_MAX = 256


class Refusals:
    """Says no to peers, and tells people of it."""

    def __init__(self, context: Context) -> None:
        """For the machine whose context it is."""
        self._context = context
        self._told = Seldom[str](REFUSALS_MS, REFUSALS_MAX)
        """Sources of which something was refused and told."""

    def __len__(self) -> int:
        """How many sources are remembered."""
        return len(self._told)

    def refuse(self, reason: int, text: str, source: str, now_ms: int, details: str = "") -> bool:
        """Say so to the peer, and to people; return whether it was not said only just now."""
        context = self._context
        context.counters[f"refused: {text}"] += 1
        if not self.may_tell(source, now_ms):
            return False
        head = (REFUSE, 0, context.node_id, context.start, 0, 0, reason, ())
        context.out.append(Send(source, cbor2.dumps(head)))
        context.out.append(Refused(source, text + details))
        return True

    def meet_stranger(self, kind: int, target: NodeId, source: str, now_ms: int) -> None:
        """A datagram of another mesh; a ping tells whom of its own it takes us for."""
        seeks = kind == PING
        details = f", and looks here for its node {target}" if seeks else ""
        told = self.refuse(FOREIGN, "is of another mesh", source, now_ms, details)
        if seeks and told:
            self._context.out.append(Sought(target, source))

    def may_tell(self, source: str, now_ms: int) -> bool:
        """Whether nothing of this source was told just now; then something is."""
        return self._told.may(source, now_ms)

    def was_refused(self, reason: int, source: str, now_ms: int) -> None:
        """A peer refuses what this machine sends, for one of the reasons of REFUSE."""
        self._context.counters["refused_by_peers"] += 1
        if self.may_tell(source, now_ms):
            text = {
                FOREIGN: "says that it is of another mesh" + self._who_was_at(source),
                CLASHES: "says that another process runs under our node id",
            }.get(reason, "refuses what we send")
            self._context.out.append(Refused(source, text))

    def _who_was_at(self, address: str) -> str:
        """Return words for the member that was met there before, if one was."""
        for node_id in self._context.view.silent:
            member = self._context.view.get(node_id)
            if member is not None and member.state is State.DEAD and member.address == address:
                return f"; node {node_id} of this one was there: is its data directory lost?"
        return ""
