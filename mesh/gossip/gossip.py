"""The gossip machine: datagrams, frames and time in, effects out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from mesh.gossip.effects import Effect
from mesh.gossip.member import EMPTY_MAP, Member, State, Value
from mesh.gossip.settings import Settings
from mesh.model.types import NodeId


class Rng(Protocol):
    """Dice: `random.Random` is one."""

    def random(self) -> float:
        """Uniform in [0, 1)."""

    def getrandbits(self, k: int, /) -> int:
        """Uniform, of k bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Me:
    """Who this node is."""

    cluster_id: bytes
    """16 bytes of a UUID."""
    node_id: NodeId
    start: int
    """Durable, and higher than at any start before."""
    entries: Mapping[str, Value] = field(default_factory=lambda: EMPTY_MAP)
    """What the map begins with; PEER must be in it."""


class Seen(NamedTuple):
    """A member, with what this node alone knows of it."""

    member: Member
    probe_ms: int | None
    """Of the newest direct probes, smoothed; None while none was answered."""
    suspect_left_ms: int | None
    """Until it is found dead, if nothing else comes; None unless it is suspect."""
    reached: bool
    """Whether the newest direct probe was answered, or none was sent yet."""


class Picture(NamedTuple):
    """What a node believes of the mesh."""

    members: tuple[Seen, ...]
    """All of them, this node included, by id; those who left as long as they are remembered."""
    view_hash: int
    """64 bits: equal where the same live, suspect (as alive) and dead members with the same
    numbers are known, whatever was forgotten of those who left."""
    agree: bool
    """Whether all live members that told it lately have this hash."""
    changed_ms: int
    """Since the hash changed."""
    local_health: int
    counters: Mapping[str, int]
    """Sent, received, refused by reason …: monotone, for metrics."""


class Gossip:
    """One node's membership. Every call passes the monotonic time and returns effects in order.

    Attributes:
        wake_at_ms: when `woken` wants to be called next; looked at again after every call.
    """

    wake_at_ms: int

    def __init__(
        self,
        me: Me,
        settings: Settings,
        rng: Rng,
        now_ms: int,
        *,
        known: Mapping[NodeId, Member] | None = None,
    ) -> None:
        """Begin as a mesh of one, or knowing `known`, which is shared and never written to."""
        raise NotImplementedError

    def join(self, seeds: Sequence[str], now_ms: int) -> list[Effect]:
        """Ask the members at these addresses for their views, until one answers."""
        raise NotImplementedError

    def received(self, data: bytes, source: str, now_ms: int) -> list[Effect]:
        """A datagram came; whatever it holds, it is dropped and counted at worst."""
        raise NotImplementedError

    def called(self, data: bytes, source: str, now_ms: int) -> tuple[bytes | None, list[Effect]]:
        """A frame came on a stream; return the frame to answer with, None to hang up."""
        raise NotImplementedError

    def answered(self, call_id: int, data: bytes | None, now_ms: int) -> list[Effect]:
        """A call has ended; None: without an answer."""
        raise NotImplementedError

    def woken(self, now_ms: int) -> list[Effect]:
        """`wake_at_ms` has come."""
        raise NotImplementedError

    def write(self, entries: Mapping[str, Value | None], now_ms: int) -> list[Effect]:
        """Change entries of the own map; None removes one. What is the same writes nothing."""
        raise NotImplementedError

    def leave(self, now_ms: int) -> list[Effect]:
        """Tell the mesh that this node leaves; HasLeft follows, soon."""
        raise NotImplementedError

    def expel(self, node_id: NodeId, now_ms: int) -> list[Effect]:
        """Tell the mesh that a dead member has left for good.

        Raises:
            ValueError: with a text for people: it is not known, or not dead.
        """
        raise NotImplementedError

    def member(self, node_id: NodeId) -> Member | None:
        """What is believed of one member."""
        raise NotImplementedError

    def live(self) -> list[NodeId]:
        """Ids of members that are alive or suspect, this node included, ascending."""
        raise NotImplementedError

    @property
    def view_hash(self) -> int:
        """See `Picture.view_hash`; costs nothing."""
        raise NotImplementedError

    def state_of(self, node_id: NodeId) -> State | None:
        """Only the state: cheap, for invariants."""
        raise NotImplementedError

    def picture(self, now_ms: int) -> Picture:
        """All that people may see of it."""
        raise NotImplementedError
