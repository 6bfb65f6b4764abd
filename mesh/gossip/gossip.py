"""The gossip machine: datagrams, frames and time in, effects out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple

import cbor2

from mesh.gossip.context import NEVER_MS, Context, Me, Rng
from mesh.gossip.detector import EVERYBODY_MAX, LATE_MS, MISSES_MIN, Detector
from mesh.gossip.effects import Changed, Clash, Effect, HasLeft, Send
from mesh.gossip.member import DIRECTORY, PEER, UNREACHED, Member, State, Value
from mesh.gossip.messages import (
    ACK,
    CLASHES,
    COUNT_MAX,
    HAVE,
    NACK,
    NODE_ID_MAX,
    PING,
    PROBE_FOR,
    REFUSE,
    WANT,
    MalformedError,
    Record,
    encode_change,
    encode_full,
    encode_record,
    parse_ids,
    parse_record,
    parse_stubs,
    parse_untrusted,
    rank_of,
    with_items,
)
from mesh.gossip.owner import Owner, check_entries
from mesh.gossip.refusals import Refusals
from mesh.gossip.settings import ENTRIES_MAX, MEMBERS_MAX, Settings
from mesh.gossip.silent import Silent
from mesh.gossip.spreader import Spreader
from mesh.gossip.syncer import Syncer
from mesh.gossip.view import Known, View
from mesh.model.types import NodeId

ASKED_AGAIN_MAX = 3
"""Members whose hash differs, in each probe interval."""
STRANGERS_MS = 50
"""How often somebody who talks and is not known is asked who it is."""
UNREACHED_WRITE_MS = 30_000
"""How often a node tells anew whom it does not reach; that it reaches all again it tells at once.

So it writes twice in this time at most, and nobody holds a mesh for ill that is well again.
"""


class Seen(NamedTuple):
    """A member, with what this node alone knows of it."""

    member: Member
    probe_ms: float | None
    """Of the newest direct probes, smoothed; None while none was answered."""
    suspect_left_ms: int | None
    """Until it is found dead, if nothing else comes; None unless it is suspect."""
    reached: bool
    """Whether one of the newest three direct probes was answered, or none was sent yet."""


class Picture(NamedTuple):
    """What a node believes of the mesh."""

    members: tuple[Seen, ...]
    """All of them, this node included, by id; those who left as long as they are remembered."""
    view_hash: int
    """64 bits: equal where the same live, suspect (as alive) and dead members with the same
    numbers are known, whatever was forgotten of those who left."""
    agree: bool
    """Whether somebody told this hash since ours last changed, and nobody another one."""
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

    def __init__(
        self,
        me: Me,
        settings: Settings,
        rng: Rng,
        now_ms: int,
        *,
        known: Known | None = None,
    ) -> None:
        """Begin as a mesh of one, or knowing `known`, which is shared and never written to.

        Raises:
            ValueError: the map has no PEER, or holds what no map may.
        """
        check_entries(me.entries)
        if PEER not in me.entries:
            raise ValueError("a member's map tells where its peers find it")
        context = Context(me, settings, rng, View(known), now_ms)
        self._context = context
        self._view = context.view
        self._refusals = Refusals(context)
        self._spreader = Spreader(context)
        self._detector = Detector(
            context,
            self._spreader,
            decide=self._decide,
            call_probe=self._call_probe,
            now_ms=now_ms,
        )
        self._syncer = Syncer(
            context,
            self._spreader,
            self._detector,
            believe=self._believe_synced,
            may_refuse=self._refusals.may_tell,
            now_ms=now_ms,
        )
        self._owner = Owner(
            context,
            self._spreader,
            self._detector,
            put=self._put,
            change=self._change,
            clash=self._clash,
        )
        self._hashes: dict[NodeId, int] = {}
        """What members told since ours last changed, if it is not ours."""
        self._agreeing = False
        """Whether anybody told ours since then."""
        self._changed_ms = now_ms
        self._called_ms = now_ms
        self._silent = Silent(context, self._detector, change=self._change)
        self._gone = False
        self._quiet = False
        self._told_by = ""
        """Who sent what is being taken in."""
        self._asked_ms = now_ms
        self._unreached_ms = now_ms
        version = 1 if me.entries else 0
        mine = Member(
            me.node_id, me.start, 0, State.ALIVE, version, MappingProxyType(dict(me.entries))
        )
        if known is None or known.members.get(me.node_id) != mine:
            self._view.put(mine)
        self.wake_at_ms = now_ms
        self._rearm()

    # What happens to it

    def received(self, data: bytes, source: str, now_ms: int) -> list[Effect]:
        """A datagram came; whatever it holds, it is dropped and counted at worst."""
        out = self._begin(now_ms)
        try:
            found = parse_untrusted(data)
            if len(found) != 8:
                raise MalformedError("no datagram")
            self._datagram(found, source, now_ms)
        except MalformedError as error:
            self._context.counters[f"malformed: {error}"] += 1
        return self._end(out, now_ms)

    def called(self, data: bytes, source: str, now_ms: int) -> tuple[bytes | None, list[Effect]]:
        """A frame came on a stream; return the frame to answer with, None to hang up."""
        out = self._begin(now_ms)
        answer = None
        if not self._gone:
            try:
                answer = self._syncer.called(parse_untrusted(data), source, now_ms)
            except MalformedError as error:
                self._context.counters[f"malformed: {error}"] += 1
        return answer, self._end(out, now_ms)

    def answered(self, call_id: int, data: bytes | None, now_ms: int) -> list[Effect]:
        """A call has ended; None: without an answer."""
        out = self._begin(now_ms)
        try:
            found = None if data is None else parse_untrusted(data)
            self._syncer.answered(call_id, found, now_ms)
        except MalformedError as error:
            self._context.counters[f"malformed: {error}"] += 1
            self._syncer.answered(call_id, None, now_ms)
        return self._end(out, now_ms)

    def woken(self, now_ms: int) -> list[Effect]:
        """`wake_at_ms` has come."""
        out = self._begin(now_ms)
        if not self._gone:
            self._context.run_timers(now_ms)
            ticks = now_ms >= self._detector.tick_ms
            self._detector.run(now_ms)
            if ticks:
                self._tick(now_ms)
        return self._end(out, now_ms)

    # What the node wants of it

    def join(self, seeds: Sequence[str], now_ms: int) -> list[Effect]:
        """Ask the members at these addresses for their views, until one answers."""
        out = self._begin(now_ms)
        self._syncer.join(seeds)
        return self._end(out, now_ms)

    def write(self, entries: Mapping[str, Value | None], now_ms: int) -> list[Effect]:
        """Change entries of the own map; None removes one. What is the same writes nothing.

        Raises:
            ValueError: it is no value of a map, or too many.
        """
        out = self._begin(now_ms)
        self._owner.write(entries, now_ms)
        return self._end(out, now_ms)

    def leave(self, now_ms: int) -> list[Effect]:
        """Tell the mesh that this node leaves; HasLeft follows, soon."""
        out = self._begin(now_ms)
        if not self._owner.leaves:
            self._owner.leave(now_ms)
            # After all the steps in which the news travels.
            self._context.at(now_ms + 8 * self._context.settings.later_ms, self._has_left)
        return self._end(out, now_ms)

    def expel(self, node_id: NodeId, now_ms: int) -> list[Effect]:
        """Tell the mesh that a dead member has left for good.

        Raises:
            ValueError: with a text for people: it is not known, or not dead.
        """
        member = self._view.get(node_id)
        if member is None:
            raise ValueError(f"node {node_id} is not known here")
        if member.state is not State.DEAD:
            raise ValueError(f"node {node_id} is {member.state.name.lower()}, not dead")
        out = self._begin(now_ms)
        self._change(member._replace(state=State.LEFT, impaired=False), now_ms)
        return self._end(out, now_ms)

    # What it knows

    @property
    def node_id(self) -> NodeId:
        """Of this node."""
        return self._context.node_id

    def member(self, node_id: NodeId) -> Member | None:
        """What is believed of one member."""
        return self._view.get(node_id)

    def live(self) -> list[NodeId]:
        """Ids of members that are alive or suspect, this node included, ascending."""
        return sorted(self._view.ring)

    @property
    def view_hash(self) -> int:
        """See `Picture.view_hash`; costs nothing."""
        return self._view.view_hash

    def state_of(self, node_id: NodeId) -> State | None:
        """Only the state: cheap, for invariants."""
        member = self._view.get(node_id)
        return None if member is None else member.state

    @property
    def load(self) -> Mapping[str, int]:
        """Sizes of all that could grow, for invariants."""
        return {
            "members": len(self._view),
            "suspicions": len(self._detector.suspicions),
            "refusals": len(self._refusals),
            **self._spreader.load,
            **self._detector.load,
            **self._syncer.load,
            "timers": self._context.timer_count,
        }

    def picture(self, now_ms: int) -> Picture:
        """All that people may see of it."""
        detector = self._detector
        seen = []
        for member in sorted(self._view, key=lambda member: member.node_id):
            suspicion = detector.suspicions.get(member.node_id)
            took = detector.round_trips.get(member.node_id)
            left_ms = None if suspicion is None else max(0, suspicion.due_ms - now_ms)
            reached = detector.misses.get(member.node_id, 0) < MISSES_MIN
            seen.append(Seen(member, None if took is None else took / 16, left_ms, reached))
        mine = self._view.view_hash
        return Picture(
            members=tuple(seen),
            view_hash=mine,
            agree=not self._hashes and (self._agreeing or len(self._view.ring) < 2),
            changed_ms=now_ms - self._changed_ms,
            local_health=self._context.health,
            counters=dict(self._context.counters),
        )

    # A call begins and ends

    def _begin(self, now_ms: int) -> list[Effect]:
        context = self._context
        out: list[Effect] = []
        context.out = out
        # Of a burst that waited for the machine, only the first message came after the pause.
        late_ms = now_ms - max(self.wake_at_ms, self._called_ms)
        self._called_ms = now_ms
        if late_ms > LATE_MS:
            self._detector.was_paused(late_ms, now_ms)
        return out

    def _end(self, out: list[Effect], now_ms: int) -> list[Effect]:
        if self._gone:
            self.wake_at_ms = NEVER_MS
            return [effect for effect in out if not isinstance(effect, Send)]
        self._spreader.run(now_ms)
        self._rearm()
        return out

    def _rearm(self) -> None:
        wake_ms, timer_ms = self._detector.wake_ms, self._context.timer_ms
        self.wake_at_ms = min(wake_ms, timer_ms)

    def _tick(self, now_ms: int) -> None:
        """Once in a probe interval."""
        self._owner.tick(now_ms)
        self._syncer.tick(now_ms)
        if self._view.silent:
            self._silent.tick(now_ms)
        if self._hashes:
            self._ask_again()
        if self._detector.misses or UNREACHED in self._owner.member.entries:
            self._tell_unreached(now_ms)

    def _ask_again(self) -> None:
        """Ask some that told another hash while news was on its way: most have ours by now, and
        would not say so before they talk to us by chance.
        """
        for node_id in list(islice(self._hashes, ASKED_AGAIN_MAX)):
            self._hashes[node_id] = self._hashes.pop(node_id)  # The others' turn is next.
            member = self._view.get(node_id)
            if member is not None and member.live:
                self._detector.ping(member, 0)

    def _tell_unreached(self, now_ms: int) -> None:
        found = self._detector.unreached()
        if found != self._owner.member.entries.get(UNREACHED, []):
            if found and now_ms - self._unreached_ms < UNREACHED_WRITE_MS:
                return
            if self._owner.member.state is not State.ALIVE:
                return
            if found:
                self._unreached_ms = now_ms
            self._owner.write({UNREACHED: found or None}, now_ms)

    # Datagrams

    def _datagram(self, found: list[Any], source: str, now_ms: int) -> None:
        context = self._context
        kind, tag, sender, start, number, view_hash, arg, items = found
        if (
            type(tag) is not int
            or type(sender) is not int
            or type(start) is not int
            or type(number) is not int
            or type(view_hash) is not int
            or type(arg) is not int
            or type(items) is not list
            or not 0 <= arg <= COUNT_MAX
            or not 0 < sender <= NODE_ID_MAX
        ):
            raise MalformedError("no datagram")
        if kind == REFUSE:
            self._refusals.was_refused(arg, source, now_ms)
            return
        if tag != context.tag:
            self._refusals.meet_stranger(kind, arg, source, now_ms)
            return
        if sender == context.node_id:
            self._namesake(start, source, now_ms)
            return
        if not 0 <= kind <= REFUSE:
            raise MalformedError("unknown kind")
        if self._gone:
            return
        context.hear(now_ms)
        member = self._view.get(sender)
        if items:
            self._items(kind, items, sender, source, now_ms)
        if member is None:
            # Somebody joined and the news of it is still under way; or it was forgotten.
            if now_ms - self._asked_ms >= STRANGERS_MS:
                self._asked_ms = now_ms
                self._spreader.ask([sender], source)
        elif start < member.start:
            if kind == PING:  # An older process of the same identity: it must hear of the newer.
                self._spreader.send_to(source, [encode_full(_unsuspected(member))])
            return
        elif member.state is not State.ALIVE:
            self._hear_of_doubted(member, start, source, asks=kind == PING)
        if member is not None and member.live:
            if view_hash == self._view.view_hash:
                self._agreeing = True
                if self._hashes:
                    self._hashes.pop(sender, None)
            else:
                self._hashes[sender] = view_hash
                self._syncer.differs(member, now_ms)
        if kind == PING:
            if arg == context.node_id:
                self._answer_ping(number, source)
        elif kind == ACK:
            self._detector.acked(number, sender, arg, now_ms)
        elif kind == NACK:
            self._detector.nacked(number, sender, arg, now_ms)
        elif kind == PROBE_FOR:
            self._detector.probe_for(arg, number, source, now_ms)

    def _answer_ping(self, number: int, source: str) -> None:
        context = self._context
        head = (ACK, context.tag, context.node_id, context.start, number)
        data = cbor2.dumps((*head, self._view.view_hash, 0, ()))
        if self._owner.tells:  # Whoever asks may be waiting for just that.
            data = with_items(data, [encode_record(self._owner.member)])
        context.out.append(Send(source, data))

    def _items(self, kind: int, items: list[Any], sender: NodeId, source: str, now_ms: int) -> None:
        if kind == HAVE:
            wanted = [stub[0] for stub in parse_stubs(items) if self._knows_less(stub)]
            if wanted:
                self._spreader.ask(wanted, source)
        elif kind == WANT:
            # Much is sent for little, so only to where a member is known to be.
            asker = self._view.get(sender)
            if asker is not None:
                self._spreader.answer_want(parse_ids(items), asker.address)
        else:
            self._believe_all(items, source, now_ms)

    def _knows_less(self, stub: Sequence[int]) -> bool:
        member = self._view.get(stub[0])
        if member is None:
            return stub[3] < 4  # One who left, and whom we forgot, is no news.
        mine = (member.start, member.incarnation, rank_of(member))
        theirs = (stub[1], stub[2], stub[3])
        return theirs > mine or (stub[1] == member.start and stub[4] > member.version)

    def _hear_of_doubted(self, member: Member, start: int, source: str, *, asks: bool) -> None:
        """One that is suspect or held dead talks: it should know.

        It is told with each of its probes alone, or two that doubt each other would never end.
        """
        if start != member.start:
            if start > member.start:
                self._spreader.ask([member.node_id], source)
            return
        suspicion = self._detector.suspicions.get(member.node_id)
        if suspicion is not None:
            suspicion.talked = True
        if asks:
            self._spreader.send_to(source, [self._detector.record_of(member)])

    def _namesake(self, start: int, source: str, now_ms: int) -> None:
        """Another process says that it is this node."""
        if source == self._owner.member.address:
            return  # Our own, reflected.
        if start > self._context.start:
            self._clash(source, "it started later under the same node id")
        else:
            self._refusals.refuse(CLASHES, "runs under our node id", source, now_ms)

    def _clash(self, address: str, reason: str) -> None:
        self._context.out.append(Clash(self._context.node_id, address, reason))

    # Beliefs

    def _believe_all(self, items: Sequence[Any], source: str, now_ms: int) -> None:
        wanted = []
        self._told_by = source
        try:
            for item in items:
                record = parse_record(item)
                if self._believe(record, source, now_ms):
                    wanted.append(record.node_id)
        finally:
            self._told_by = ""
        if wanted and source:
            self._spreader.ask(wanted, source)

    def _believe_synced(self, items: Sequence[Any], passes_on: bool, now_ms: int) -> None:
        """Take in what came over a stream; much of it at once is news to nobody else."""
        self._quiet = not passes_on
        try:
            self._believe_all(items, "", now_ms)
        finally:
            self._quiet = False

    def _tell(self, node_id: NodeId, record: bytes) -> None:
        if not self._quiet:
            self._spreader.tell(node_id, record)

    def _believe(self, record: Record, source: str, now_ms: int) -> bool:
        """Take news in; whether more must be known about the member to do so."""
        node_id = record.node_id
        if node_id == self._context.node_id:
            self._owner.hear(record, source, now_ms)
            return False
        member = self._view.get(node_id)
        if member is not None and self._is_namesake(member, record, now_ms):
            return False
        if member is None or record.start > member.start:
            return self._believe_new(member, record, now_ms)
        if record.start < member.start:
            return False
        asks = False
        if record.version > member.version:
            if record.entries is not None and (not record.base or record.base == member.version):
                member = self._believe_map(member, record, now_ms)
            else:
                asks = True
        theirs = (record.incarnation, rank_of(record))
        mine = (member.incarnation, rank_of(member))
        if theirs > mine:
            after = member._replace(
                incarnation=record.incarnation,
                state=State.ALIVE if record.state is State.SUSPECT else record.state,
                impaired=record.impaired,
            )
            if member.live and after.live and len(self._view.ring) > EVERYBODY_MAX:
                self._put(after, now_ms)  # Who doubted was told, and nobody else did.
            else:
                self._change(after, now_ms)
            member = after
        accused = record.state is State.SUSPECT and record.incarnation == member.incarnation
        if accused and member.live and record.accusers:
            self._detector.accuse(member, record.accusers, now_ms)
        elif theirs == mine:
            self._spreader.heard_again(node_id)
        return asks

    def _is_namesake(self, member: Member, record: Record, now_ms: int) -> bool:
        """Whether the news are of another directory under the id of one that lives; it is told.

        Whoever was known first stays, as with one that asks to join: by a higher start alone, which
        each directory counts for itself, a stranger would take a member's place.
        """
        if record.entries is None or record.base or not member.live:
            return False
        theirs, known = record.entries.get(DIRECTORY), member.entries.get(DIRECTORY)
        if theirs == known or theirs is None or known is None:
            return False
        address = record.entries.get(PEER)
        if isinstance(address, str) and address != member.address:
            text = f"runs under the id of node {member.node_id}, which is alive"
            self._refusals.refuse(CLASHES, text, address, now_ms)
            self._refusals.refuse(CLASHES, text, member.address, now_ms)
        return True

    def _believe_new(self, member: Member | None, record: Record, now_ms: int) -> bool:
        """Take in news of a member that is not known, or not since its last start."""
        state = record.state
        if member is None and state is State.LEFT and record.entries is None:
            return False  # Nobody here could bring it back.
        if member is None and len(self._view) >= MEMBERS_MAX:
            self._context.counters["members_refused"] += 1
            return False
        if record.entries is None or record.base:
            return True
        entries = {name: value for name, value in record.entries.items() if value is not None}
        if not isinstance(entries.get(PEER), str):
            raise MalformedError("no address")
        fresh = Member(
            record.node_id,
            record.start,
            record.incarnation,
            State.ALIVE if state is State.SUSPECT else state,
            record.version,
            MappingProxyType(entries),
            record.impaired,
        )
        self._put(fresh, now_ms)
        self._tell(fresh.node_id, encode_full(fresh))
        if state is State.SUSPECT and record.accusers:
            self._detector.accuse(fresh, record.accusers, now_ms)
        return False

    def _believe_map(self, member: Member, record: Record, now_ms: int) -> Member:
        assert record.entries is not None, "the caller looked"
        merged = {**member.entries, **record.entries} if record.base else record.entries
        entries = {name: value for name, value in merged.items() if value is not None}
        if not isinstance(entries.get(PEER), str) or len(entries) > ENTRIES_MAX:
            raise MalformedError("bad map")
        after = member._replace(version=record.version, entries=MappingProxyType(entries))
        self._put(after, now_ms)
        base = record.base
        self._tell(
            member.node_id,
            encode_change(_unsuspected(after), base, record.entries if base else entries),
        )
        return after

    def _decide(self, member: Member, now_ms: int) -> None:
        """The detector has come to believe this."""
        if member.state is State.SUSPECT or member.state is State.ALIVE:
            self._put(member, now_ms)
        else:
            self._change(member, now_ms)

    def _change(self, member: Member, now_ms: int) -> None:
        """Believe something new about a member's state, and pass it on."""
        self._put(member, now_ms)
        self._tell(member.node_id, encode_record(member))

    def _put(self, member: Member, now_ms: int) -> None:
        view = self._view
        hash_before = view.view_hash
        before = view.put(member)
        if view.view_hash != hash_before:
            self._changed_ms = now_ms
            self._hashes.clear()
            self._agreeing = False
        node_id = member.node_id
        if member.state is State.ALIVE:
            self._detector.clear(node_id)
        elif not member.live:
            self._detector.forget(node_id, now_ms)
            self._hashes.pop(node_id, None)
        self._silent.heed(before, member, now_ms)
        self._context.out.append(Changed(before, member, self._told_by))

    # The end, and streams

    def _has_left(self, now_ms: int) -> None:
        del now_ms
        self._gone = True
        self._context.out.append(HasLeft())

    def _call_probe(self, member: Member, number: int) -> None:
        self._syncer.probe(member, number)


def _unsuspected(member: Member) -> Member:
    """Return the member as news of its map tell it: what it is suspected of travels by itself."""
    return member._replace(state=State.ALIVE) if member.state is State.SUSPECT else member
