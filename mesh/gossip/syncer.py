"""What goes over streams: joining, push-pull, and the probe of last resort.

Push-pull is three steps at most, each a question and its answer: are our hashes the same? If not,
these are the numbers of all that I know; then this is what you lack, give me what I lack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import cbor2

from mesh.gossip.context import Context
from mesh.gossip.detector import Detector
from mesh.gossip.effects import Call, Joined, JoinFailed, Refused
from mesh.gossip.member import DIRECTORY, Member, State
from mesh.gossip.messages import (
    CLASHES,
    EXCHANGE,
    FOREIGN,
    JOIN,
    JOINED,
    PROBE,
    PROBED,
    RECORDS,
    REFUSED,
    SAME,
    SPEAKS,
    STUBS,
    SYNC,
    TOO_NEW,
    UNKEYED,
    MalformedError,
    encode_full,
    is_count,
    parse_ids,
    parse_record,
    parse_stubs,
    rank_of,
    stub_of,
    with_items,
)
from mesh.gossip.settings import MEMBERS_MAX
from mesh.gossip.spreader import Spreader
from mesh.gossip.view import View
from mesh.model.types import NodeId

CALLS_MAX = 64
SEEDS_MAX = 64
DIFFERS_MS = 500
"""Views that differ for so long, while no news is on its way here, are compared."""
SYNC_PAUSE_MS = 1_000
"""Between two comparisons; while there is always news, so many times that."""
BUSY_FACTOR = 5
PASSED_ON_MAX = 32
"""Records that one comparison brought are news to others, too, if they are not many."""
TEXT_LENGTH_MAX = 200
OTHER_MESH = "is a member of mesh"
"""How the refusal of one of another mesh begins."""
UNANSWERED = "does not answer"
NOT_ASKED = "was not asked: too many calls are under way"


@dataclass(slots=True)
class _Asked:
    """A call that is under way."""

    kind: int
    to: str
    node_id: NodeId = 0
    number: int = 0
    """Of the probe."""
    again: bool = False
    """A join by one who has joined already: see `_meet`."""


class Syncer:
    """Asks and answers on streams for one machine."""

    def __init__(
        self,
        context: Context,
        spreader: Spreader,
        detector: Detector,
        *,
        believe: Callable[[Sequence[Any], bool, int], None],
        may_refuse: Callable[[str, int], bool],
        now_ms: int,
    ) -> None:
        """Around the parts that are shared.

        Args:
            context: what is shared.
            spreader: tells that this node has joined.
            detector: hears of probes on streams.
            believe: takes records in; with whether they are news for others, and the time.
            may_refuse: whether people are to hear, again, of what is refused of somebody.
            now_ms: the time.
        """
        self._context = context
        self._spreader = spreader
        self._detector = detector
        self._believe = believe
        self._may_refuse = may_refuse
        self._calls: dict[int, _Asked] = {}
        self._next_call = 0
        self._seeds: list[str] = []
        self._unmet: list[str] = []
        """Seeds that did not answer yet."""
        self._joining = False
        self._meet_ms = now_ms
        self._reasons: list[tuple[str, str]] = []
        self._synced_ms = now_ms
        self._regular_ms = now_ms + context.below(context.settings.push_pull_interval_ms)
        self._doubt: tuple[int, int] = (0, now_ms)
        """Our hash that others did not have, and since when."""
        self._full: dict[NodeId, tuple[Member, bytes]] = {}
        """Encoded for those who join; empty where nobody does."""

    @property
    def load(self) -> dict[str, int]:
        """Sizes of what could grow."""
        return {"calls": len(self._calls), "encoded": len(self._full)}

    def _call(self, asked: _Asked, data: bytes, timeout_ms: int) -> bool:
        """Ask, unless too many calls are under way; return whether it was asked."""
        if len(self._calls) >= CALLS_MAX:
            self._context.counters["calls_put_off"] += 1
            return False
        self._next_call += 1
        self._calls[self._next_call] = asked
        self._context.out.append(Call(asked.to, self._next_call, data, timeout_ms))
        return True

    # To join

    def join(self, seeds: Sequence[str]) -> None:
        """Ask these, one after the other, until one answers; go on to meet the others."""
        self._seeds, self._reasons = list(seeds[:SEEDS_MAX]), []
        self._unmet = list(self._seeds)
        self._joining = True
        self._join_next()

    def _join_next(self) -> None:
        while self._seeds:
            seed = self._seeds.pop(0)
            if self._ask_to_join(_Asked(JOIN, seed)):
                return
            self._reasons.append((seed, NOT_ASKED))
        self._joining = False
        self._context.out.append(JoinFailed(tuple(self._reasons)))

    def _ask_to_join(self, asked: _Asked) -> bool:
        context = self._context
        head = (JOIN, context.tag, context.me.cluster_id, *SPEAKS, ())
        mine = context.view.get(context.node_id)
        assert mine is not None, "a node knows itself"
        data = with_items(cbor2.dumps(head), [encode_full(mine)])
        return self._call(asked, data, context.settings.call_timeout_ms)

    def _meet(self, now_ms: int) -> None:
        """Join through one of those that did not answer yet, too.

        Whoever lets a node in may have found nobody yet itself: two that begin in a bad network
        would be a mesh of their own for ever, which neither of them knows to be one.
        """
        met = {member.address for member in self._context.view}
        self._unmet = [seed for seed in self._unmet if seed not in met]
        if self._unmet and self._ask_to_join(_Asked(JOIN, self._unmet[0], again=True)):
            self._unmet.append(self._unmet.pop(0))
            self._meet_ms = now_ms + self._context.settings.reconnect_interval_ms

    def _met(self, seed: str) -> None:
        self._unmet = [one for one in self._unmet if one != seed]

    def _join_failed(self, asked: _Asked, reason: str) -> None:
        if not asked.again:
            self._reasons.append((asked.to, reason))
            self._join_next()

    def _joined(self, asked: _Asked, found: list[Any], now_ms: int) -> None:
        if found[0] == REFUSED:
            self._met(asked.to)
            self._join_failed(asked, _text(found))
            return
        if found[0] != JOINED or len(found) != 3 or type(found[2]) is not list:
            self._join_failed(asked, "gave no answer that we understand")
            return
        self._met(asked.to)
        self._believe(found[2], asked.again and len(found[2]) <= PASSED_ON_MAX, now_ms)
        if asked.again:
            return
        self._joining = False
        self._meet_ms = now_ms
        context = self._context
        mine = context.view.get(context.node_id)
        assert mine is not None, "a node knows itself"
        self._spreader.tell(context.node_id, encode_full(mine))
        self._synced_ms = now_ms
        context.out.append(Joined(asked.to))

    def _let_in(self, found: list[Any], source: str, now_ms: int) -> bytes:
        context = self._context
        if len(found) != 6 or type(found[5]) is not list or len(found[5]) != 1:
            raise MalformedError("no join")
        _, _, cluster_id, lowest, highest, (item,) = found
        if not is_count(lowest) or not is_count(highest):
            raise MalformedError("no join")
        if cluster_id != context.me.cluster_id:
            return self._refused(FOREIGN, self._our_mesh, source, now_ms)
        if lowest > SPEAKS[1] or highest < SPEAKS[0]:
            return self._refused(
                TOO_NEW, f"speaks versions {SPEAKS[0]} to {SPEAKS[1]}", source, now_ms
            )
        record = parse_record(item)
        known = context.view.get(record.node_id)
        if record.entries is None:
            raise MalformedError("no join")
        directory = record.entries.get(DIRECTORY)
        if known is not None and known.live and known.entries.get(DIRECTORY) != directory:
            text = f"node {record.node_id} is alive at {known.address}"
            return self._refused(CLASHES, text, source, now_ms)
        self._believe([item], True, now_ms)
        records = [self._encoded(m) for m in context.view if m.node_id != record.node_id]
        if len(self._full) > len(context.view):  # Some were forgotten.
            kept = {one: self._full[one] for one in self._full if context.view.get(one) is not None}
            self._full = kept
        return with_items(cbor2.dumps((JOINED, context.tag, ())), records)

    @property
    def _our_mesh(self) -> str:
        return f"{OTHER_MESH} {UUID(bytes=self._context.me.cluster_id)}"

    def _encoded(self, member: Member) -> bytes:
        held = self._full.get(member.node_id)
        if held is None or held[0] is not member:
            plain = member
            if member.state is State.SUSPECT:
                plain = member._replace(state=State.ALIVE)
            held = (member, encode_full(plain))
            self._full[member.node_id] = held
        return held[1]

    def _refused(self, reason: int, text: str, source: str, now_ms: int) -> bytes:
        self._context.counters["joins_refused"] += 1
        # Each stream comes from another port.
        host = source.rpartition(":")[0] or source
        if self._may_refuse(f"{host} {text}", now_ms):
            self._context.out.append(Refused(source, f"may not join: this node {text}"))
        return cbor2.dumps((REFUSED, self._context.tag, reason, text))

    # Push-pull

    def tick(self, now_ms: int) -> None:
        """Once in a probe interval: meet seeds, compare with somebody, when it is time to."""
        if self._unmet and not self._joining and now_ms >= self._meet_ms:
            self._meet(now_ms)
        if now_ms < self._regular_ms:
            return
        context = self._context
        interval_ms = context.settings.push_pull_interval_ms
        self._regular_ms = now_ms + interval_ms // 2 + context.below(interval_ms)
        ring = context.view.ring
        if len(ring) > 1 and now_ms - self._synced_ms >= interval_ms // 2:
            node_id = ring[context.below(len(ring))]
            member = context.view.get(node_id)
            if member is not None and node_id != context.node_id:
                self._compare(member, now_ms)

    def differs(self, member: Member, now_ms: int) -> None:
        """A member told a hash that is not ours."""
        view_hash, since_ms = self._doubt
        if view_hash != self._context.view.view_hash:
            self._doubt = (self._context.view.view_hash, now_ms)
            return
        pause_ms = SYNC_PAUSE_MS if self._spreader.is_idle else SYNC_PAUSE_MS * BUSY_FACTOR
        if now_ms - since_ms >= DIFFERS_MS and now_ms - self._synced_ms >= pause_ms:
            self._compare(member, now_ms)

    def _compare(self, member: Member, now_ms: int) -> None:
        context = self._context
        self._synced_ms = now_ms
        data = cbor2.dumps((SYNC, context.tag, context.node_id, context.view.view_hash))
        self._call(
            _Asked(SYNC, member.address, member.node_id), data, context.settings.call_timeout_ms
        )

    def _stubs(self) -> bytes:
        view = self._context.view
        flat = [number for member in view for number in stub_of(member)]
        return cbor2.dumps((STUBS, self._context.tag, flat))

    def _exchange(self, asked: _Asked, found: list[Any]) -> None:
        if found[0] == SAME or found[0] == REFUSED or len(found) != 3:
            return
        context = self._context
        wanted, told = who_knows_less(context.view, parse_stubs(found[2]))
        if not wanted and not told:
            return
        head = (EXCHANGE, context.tag, context.node_id, wanted, ())
        data = with_items(cbor2.dumps(head), [encode_full(_plain(m)) for m in told])
        self._call(_Asked(EXCHANGE, asked.to), data, context.settings.call_timeout_ms)

    def _records(self, ids: Iterable[NodeId]) -> bytes:
        view = self._context.view
        members = [m for m in map(view.get, ids) if m is not None]
        records = [encode_full(_plain(m)) for m in members]
        return with_items(cbor2.dumps((RECORDS, self._context.tag, ())), records)

    # Probes

    def probe(self, member: Member, number: int) -> None:
        """Probe a member on a stream, for where datagrams do not pass."""
        context, settings = self._context, self._context.settings
        wait_ms = settings.probe_timeout_ms + settings.indirect_timeout_ms
        data = cbor2.dumps((PROBE, context.tag, number, member.node_id))
        asked = _Asked(PROBE, member.address, number=number)
        self._call(asked, data, wait_ms * (context.health + 1))

    # Answers, and questions of others

    def answered(self, call_id: int, found: list[Any] | None, now_ms: int) -> None:
        """A call has ended.

        Raises:
            MalformedError: its answer is none.
        """
        asked = self._calls.pop(call_id, None)
        if asked is None:
            return
        if found is not None and len(found) < 2:
            found = None
        if asked.kind == PROBE:
            self._detector.called(asked.number, answered=found is not None and found[0] == PROBED)
        elif asked.kind == JOIN:
            if found is None:
                self._join_failed(asked, UNANSWERED)
            else:
                try:
                    self._joined(asked, found, now_ms)
                except MalformedError:
                    # Whoever waits for the join must hear of its end, and the other seeds be asked.
                    self._join_failed(asked, "gave no answer that we understand")
                    raise
        elif found is None:
            return
        elif asked.kind == SYNC:
            self._exchange(asked, found)
        elif found[0] == RECORDS and len(found) == 3 and type(found[2]) is list:
            self._believe(found[2], len(found[2]) <= PASSED_ON_MAX, now_ms)

    def called(self, found: list[Any], source: str, now_ms: int) -> bytes:
        """Answer a question.

        Raises:
            MalformedError: it is none.
        """
        context = self._context
        if len(found) < 3 or type(found[1]) is not int:
            raise MalformedError("no frame")
        kind = found[0]
        if kind == JOIN:
            return self._let_in(found, source, now_ms)
        if found[1] != context.tag:
            return self._refused(FOREIGN, self._our_mesh, source, now_ms)
        if kind == PROBE and len(found) == 4:
            if found[3] != context.node_id:
                raise MalformedError("not for us")
            return cbor2.dumps((PROBED, context.tag, 0))
        if kind == SYNC and len(found) == 4:
            if found[3] == context.view.view_hash:
                return cbor2.dumps((SAME, context.tag, 0))
            return self._stubs()
        if kind == EXCHANGE and len(found) == 5 and type(found[4]) is list:
            ids = parse_ids(found[3])
            self._believe(found[4], len(found[4]) <= PASSED_ON_MAX, now_ms)
            return self._records(ids)
        raise MalformedError("unknown kind")


def who_knows_less(
    view: View, stubs: Iterable[tuple[int, ...]]
) -> tuple[list[NodeId], list[Member]]:
    """Return of whom the other side knows more, and the members of whom it knows less."""
    wanted: list[NodeId] = []
    told: list[Member] = []
    missing = {member.node_id: member for member in view}
    for node_id, start, incarnation, rank, version in stubs:
        member = missing.pop(node_id, None)
        if member is None:
            if rank < 4 and len(wanted) < MEMBERS_MAX:
                wanted.append(node_id)
            continue
        mine = (member.start, member.incarnation, rank_of(member))
        theirs = (start, incarnation, rank)
        if theirs > mine or (start == member.start and version > member.version):
            wanted.append(node_id)
        if mine > theirs or (start == member.start and member.version > version):
            told.append(member)
    told += [member for member in missing.values() if member.state is not State.LEFT]
    return wanted, told


def _plain(member: Member) -> Member:
    return member._replace(state=State.ALIVE) if member.state is State.SUSPECT else member


def refusal(text: str) -> bytes:
    """Return the answer of one that has not our cluster key, as if it had sent it."""
    return cbor2.dumps((REFUSED, 0, UNKEYED, text))


def _text(found: list[Any]) -> str:
    text = found[3] if len(found) == 4 else None
    return text[:TEXT_LENGTH_MAX] if isinstance(text, str) else "refuses us"
