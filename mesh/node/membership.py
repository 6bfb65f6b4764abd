"""One node's membership: gossip, the ids that the founder hands out, and what people hear of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, log2
from typing import Protocol

from mesh.gossip import Changed, Doubted, Effect, Gossip, Joined, JoinFailed, Member, State, Value
from mesh.gossip.joining import (
    Answer,
    Given,
    Refer,
    Refused,
    Wait,
    encode_answer,
    is_claim,
    parse_claim,
    version_fault,
)
from mesh.gossip.member import APPEND_MS, DISK_FREE, DRAINING, LOAD, SYNC_MS
from mesh.gossip.messages import MalformedError
from mesh.model.statistics import MemberEvent
from mesh.model.types import NodeId
from mesh.node.histories import Histories

FOUNDER_ID = 1
RETRY_MS = 2_000
"""Between attempts to find the mesh again, for a node that was a member before."""
TELL_MS = 10_000
"""How often load and times are looked at."""
LOAD_STEPS = (1, 5, 10, 25, 50, 75, 100)
"""Percent of a core: rounded up to one of them, so that an idle node writes nothing."""
DISK_STEP = 5
"""Percent of the disk."""


class Claims(Protocol):
    """Who hands out node ids."""

    def claim(self, directory_id: bytes, wanted: NodeId | None) -> NodeId | None:
        """Return the id of a directory once that is durable; None while it is not.

        Args:
            directory_id: 16 bytes.
            wanted: the id that it would have; None: whichever comes next.

        Raises:
            RefusedClaimError: there can be none now; the text says why.
        """


class RefusedClaimError(Exception):
    """No id can be given now; the text says why."""


class Membership:
    """Composes what makes a node a member; satisfies the handler of the peer port."""

    def __init__(
        self,
        gossip: Gossip,
        cluster_id: bytes,
        claims: Claims | None,
        note: Callable[[str, str], None],
        now_ms: int,
    ) -> None:
        """Around a gossip machine.

        Args:
            gossip: this node's.
            cluster_id: 16 bytes.
            claims: hands out node ids; None at every node but the founder.
            note: is told of events: kind and text.
            now_ms: the monotonic time.
        """
        self.gossip = gossip
        self._cluster_id = cluster_id
        self._claims = claims
        self._note = note
        self._seeds: tuple[str, ...] = ()
        self._retry_ms: int | None = None
        self._told_ms = now_ms
        self._cpu_ms = 0
        self._load = 0.0
        self.joined = False
        self._histories = Histories(gossip.node_id)

    @property
    def history(self) -> Mapping[NodeId, tuple[MemberEvent, ...]]:
        """What happened to members lately, for people."""
        return self._histories.events

    @property
    def wake_at_ms(self) -> int:
        """When `woken` wants to be called."""
        if self._retry_ms is None:
            return self.gossip.wake_at_ms
        return min(self._retry_ms, self.gossip.wake_at_ms)

    # The handler

    def received(self, data: bytes, source: str, now_ms: int) -> list[Effect]:
        """A datagram came."""
        return self._heed(self.gossip.received(data, source, now_ms), now_ms)

    def called(self, data: bytes, source: str, now_ms: int) -> tuple[bytes | None, list[Effect]]:
        """A frame came."""
        if not is_claim(data):
            answer, effects = self.gossip.called(data, source, now_ms)
            return answer, self._heed(effects, now_ms)
        try:
            return encode_answer(self._claimed(data)), []
        except MalformedError:
            return None, []

    def answered(self, call_id: int, data: bytes | None, now_ms: int) -> list[Effect]:
        """A call has ended."""
        return self._heed(self.gossip.answered(call_id, data, now_ms), now_ms)

    def woken(self, now_ms: int) -> list[Effect]:
        """Its time has come."""
        effects: list[Effect] = []
        if self._retry_ms is not None and self._retry_ms <= now_ms:
            self._retry_ms = None
            effects += self._heed(self.gossip.join(self._seeds, now_ms), now_ms)
        if self.gossip.wake_at_ms <= now_ms:
            effects += self._heed(self.gossip.woken(now_ms), now_ms)
        return effects

    # What the node wants of it

    def join(self, seeds: tuple[str, ...], now_ms: int) -> list[Effect]:
        """Find the mesh through these addresses, again and again until one answers."""
        self._seeds = seeds
        return self._heed(self.gossip.join(seeds, now_ms), now_ms) if seeds else []

    def leave(self, now_ms: int) -> list[Effect]:
        """Leave for good."""
        self._retry_ms = None
        return self._heed(self.gossip.leave(now_ms), now_ms)

    def expel(self, node_id: NodeId, now_ms: int) -> list[Effect]:
        """Have a dead member count as left.

        Raises:
            ValueError: with a text for people.
        """
        effects = self.gossip.expel(node_id, now_ms)
        self._histories.expelled(node_id, now_ms)
        return self._heed(effects, now_ms)

    def drain(self, now_ms: int) -> list[Effect]:
        """Tell all that this node stops, and means to come back."""
        return self._heed(self.gossip.write({DRAINING: True}, now_ms), now_ms)

    def is_time_to_tell(self, now_ms: int) -> bool:
        """Whether the load was not looked at for some time."""
        return now_ms - self._told_ms >= TELL_MS

    def tell_of_itself(
        self,
        now_ms: int,
        *,
        cpu_ms: int,
        disk_free_share: float,
        append_p99_ms: float | None,
        sync_p99_ms: float | None,
    ) -> list[Effect]:
        """Tell all how this node is, if that is news.

        Args:
            now_ms: the monotonic time.
            cpu_ms: of its process so far.
            disk_free_share: from 0 to 1.
            append_p99_ms: or None if nothing was appended.
            sync_p99_ms: or None if nothing was synced.
        """
        elapsed_ms = max(1, now_ms - self._told_ms)
        share = 100 * (cpu_ms - self._cpu_ms) / elapsed_ms
        self._told_ms, self._cpu_ms = now_ms, cpu_ms
        self._load += (share - self._load) / 4
        entries: dict[str, Value | None] = {
            LOAD: next((step for step in LOAD_STEPS if self._load <= step), 100),
            DISK_FREE: int(100 * disk_free_share) // DISK_STEP * DISK_STEP,
            APPEND_MS: _power_of_two(append_p99_ms),
            SYNC_MS: _power_of_two(sync_p99_ms),
        }
        return self._heed(self.gossip.write(entries, now_ms), now_ms)

    @property
    def peers(self) -> list[str]:
        """Addresses of the live members besides this node, for the next start."""
        found = []
        for node_id in self.gossip.live():
            member = self.gossip.member(node_id)
            if member is not None and member.node_id != self.gossip.node_id:
                found.append(member.address)
        return found

    @property
    def left_addresses(self) -> set[str]:
        """Addresses of members that have left, as far as nobody else is there now."""
        live = set(self.peers)
        return {
            seen.member.address
            for seen in self.gossip.picture(0).members
            if seen.member.state is State.LEFT and seen.member.address not in live
        }

    # Inside

    def _claimed(self, data: bytes) -> Answer:
        claim = parse_claim(data)
        fault = version_fault(claim)
        if fault is not None:
            return Refused(fault)
        if self._claims is None:
            founder = self.gossip.member(FOUNDER_ID)
            if founder is None:
                return Refused("only node 1 gives node ids, and this node has not met it")
            if not founder.live:
                state = founder.state.name.lower()
                text = (
                    f"only node 1 gives node ids, and it is {state} (it was at {founder.address})"
                )
                return Refused(text)
            return Refer(founder.address)
        try:
            node_id = self._claims.claim(claim.directory_id, claim.wanted or None)
        except RefusedClaimError as error:
            return Refused(str(error))
        if node_id is None:
            return Wait()
        return Given(self._cluster_id, node_id)

    def _heed(self, effects: list[Effect], now_ms: int) -> list[Effect]:
        for effect in effects:
            if type(effect) is Changed:
                self._histories.changed(effect, now_ms)
                self._tell(effect)
            elif type(effect) is Doubted:
                self._histories.doubted(effect, now_ms)
            elif type(effect) is Joined:
                self.joined = True
                self._note("joined", f"through {effect.through}")
            elif type(effect) is JoinFailed:
                tried = "; ".join(f"{seed} {reason}" for seed, reason in effect.reasons)
                self._note("alone", f"the mesh is not found: {tried}")
                self._retry_ms = now_ms + RETRY_MS
        return effects

    def _tell(self, change: Changed) -> None:
        before, after, _ = change
        if after.node_id == self.gossip.node_id and after.state is not State.LEFT:
            if before is not None and before.state is not after.state:
                is_back = after.state is State.ALIVE
                kind = "member_back" if is_back else "member_dead"
                text = (
                    "others held this node dead, no more"
                    if is_back
                    else "others hold this node dead"
                )
                self._note(kind, text)
            return
        if before is not None and (before.state, before.start) == (after.state, after.start):
            return
        kind, text = _words(before, after)
        self._note(kind, text)


def _words(before: Member | None, after: Member) -> tuple[str, str]:
    name = f"node {after.node_id} at {after.address}"
    match after.state:
        case State.SUSPECT:
            return "member_suspect", f"{name} does not answer"
        case State.DEAD:
            return "member_dead", f"{name} is dead"
        case State.LEFT:
            return "member_left", f"{name} has left"
        case _:
            if before is None:
                return "member_joined", name
            return "member_back", f"{name} is back"


def _power_of_two(ms: float | None) -> int | None:
    """Return a time rounded up, so that small changes are none."""
    if ms is None:
        return None
    return 1 << max(0, ceil(log2(ms))) if ms > 0 else 1
