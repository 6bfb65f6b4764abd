"""Plain SWIM as memberlist does it with all of Lifeguard off: the yardstick of the experiments.

It behaves as published (docs/experiments.md names each fact and its source) and has the calls of
`mesh.gossip.Gossip`, so that the same world drives both. It is no product: it trusts its peers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, TypeAlias

import cbor2

from mesh.gossip import (
    Call,
    Changed,
    Effect,
    HasLeft,
    Joined,
    JoinFailed,
    Known,
    Me,
    Member,
    Send,
    State,
    Value,
)
from mesh.gossip.context import Rng
from mesh.gossip.member import EMPTY_MAP, PEER
from mesh.model.types import NodeId

Message: TypeAlias = "tuple[Any, ...] | list[Any]"

PING, ACK, INDIRECT, ALIVE, SUSPECT, DEAD_NEWS, PUSH_PULL = range(7)
SIZES = {ALIVE: 156, SUSPECT: 61, DEAD_NEWS: 61}
"""Bytes of one piece of news, its place in the datagram included.

Measured with memberlist's encoder (December 2017) for names of 16 letters; an agent of Consul, as
the experiment ran them, tells of itself in tags of some 80 bytes (role, datacentre, versions).
"""
DATAGRAM_BYTES = 1_400
GOROUTINES = ("probe", "gossip", "exchange")
"""What sends of itself; answers are sent by whoever takes a datagram in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainSettings:
    """memberlist's LAN parameters, and Lifeguard's SWIM row: alpha 5, beta 1."""

    probe_interval_ms: int = 1_000
    probe_timeout_ms: int = 500
    indirect_probes: int = 3
    suspicion_alpha: int = 5
    gossip_interval_ms: int = 200
    gossip_nodes: int = 3
    retransmit_factor: int = 4
    push_pull_interval_ms: int = 30_000
    push_pull_threshold: int = 32
    """Above so many members the interval grows with the logarithm."""
    gossip_to_dead_ms: int = 30_000
    stream_ping: bool = True
    """The TCP fall-back probe, at the time of the indirect ones."""
    call_timeout_ms: int = 10_000

    def suspicion_ms(self, member_count: int) -> int:
        """From suspect to dead: alpha * max(1, log10(N)) probe intervals."""
        scale = int(max(1.0, math.log10(max(1, member_count))) * 1_000)
        return self.suspicion_alpha * scale * self.probe_interval_ms // 1_000

    def transmits_max(self, member_count: int) -> int:
        """How often one member passes on one piece of news."""
        return self.retransmit_factor * math.ceil(math.log10(member_count + 1))

    def push_pull_ms(self, member_count: int) -> int:
        """From one exchange of everything to the next."""
        if member_count <= self.push_pull_threshold:
            return self.push_pull_interval_ms
        more = math.ceil(math.log2(member_count) - math.log2(self.push_pull_threshold))
        return (more + 1) * self.push_pull_interval_ms


@dataclass(slots=True)
class _Record:
    state: State
    incarnation: int
    changed_ms: int
    address: str


@dataclass(slots=True)
class _Probe:
    """One round of the probing goroutine, which does one thing after another."""

    seq: int
    target: NodeId
    incarnation: int
    begun_ms: int
    stage: str = "ping"
    """ping, indirect and stream: about to send that; wait and last: sent, waiting."""
    helpers: list[NodeId] = field(default_factory=list)
    """Whom it still has to ask."""
    expired: bool = False
    stream_answered: bool = False


@dataclass(slots=True)
class _Rumour:
    transmits: int
    age: int
    about: NodeId
    size: int
    message: Message


@dataclass(slots=True)
class _GossipRound:
    """One round of the gossiping goroutine: whom it still has to send to, and what first."""

    targets: list[NodeId]
    first: list[Message]
    """What it had in hand when it was caught in a send; the rest is taken when its turn comes."""
    tick_missed: bool = False
    """A ticker keeps one tick that came too early for its reader."""


class PlainSwim:
    """One member. Calls and effects are those of `mesh.gossip.Gossip`.

    While `stall` holds, whatever sends is caught in its next send, one goroutine each, as
    memberlist's are: the prober, the gossiper, the exchange; timers go on.
    """

    def __init__(
        self,
        me: Me,
        settings: PlainSettings | None,
        rng: Rng,
        now_ms: int,
        *,
        known: Known | None = None,
    ) -> None:
        self.me = me
        self.settings = settings or PlainSettings()
        self.node_id = me.node_id
        self.address = str(me.entries.get(PEER, ""))
        mine = None if known is None else known.members.get(me.node_id)
        self.incarnation = 1 if mine is None else mine.incarnation
        """What the others know from the start, or it could refute nothing."""
        self.stalled = False
        self.wake_at_ms = now_ms
        self._rng = rng
        self._records: dict[NodeId, _Record] = {}
        self._order: list[NodeId] = []
        self._probe_index = 0
        self._seq = 0
        self._probe: _Probe | None = None
        self._tick_missed = False
        self._relays: dict[int, tuple[str, int]] = {}
        self._rumours: dict[NodeId, _Rumour] = {}
        self._age = 0
        self._gossip_ticking = False
        self._gossip_round: _GossipRound | None = None
        self._exchange_caught = False
        self._calls: dict[int, tuple[str, Any]] = {}
        self._call_id = 0
        self._join_left: list[str] = []
        self._join_reasons: list[tuple[str, str]] = []
        self._joining = False
        self._left = False
        self._timers: list[tuple[int, int, str, Any]] = []
        self._timer_count = 0
        self._out: list[Effect] = []
        self._add(self.node_id, _Record(State.ALIVE, self.incarnation, now_ms, self.address))
        for member in () if known is None else known.members.values():
            if member.node_id != self.node_id:
                record = _Record(member.state, member.incarnation, now_ms, member.address)
                self._add(member.node_id, record)
        self._shuffle(self._order)
        s = self.settings
        self._gossip_phase_ms = now_ms + self._below(s.gossip_interval_ms)
        self._at(now_ms + self._below(s.probe_interval_ms) + s.probe_interval_ms, "probe")
        self._at(now_ms + self._below(s.push_pull_interval_ms) + self._push_pull_ms(), "exchange")

    # What the driver calls.

    def woken(self, now_ms: int) -> list[Effect]:
        """`wake_at_ms` has come."""
        while self._timers and self._timers[0][0] <= now_ms:
            _, _, what, about = heappop(self._timers)
            self._due(what, about, now_ms)
        self.wake_at_ms = self._timers[0][0] if self._timers else now_ms + 3_600_000
        return self._effects()

    def received(self, data: bytes, source: str, now_ms: int) -> list[Effect]:
        """A datagram came."""
        if self._left:
            return []
        for message in cbor2.loads(data):
            self._message(message, source, now_ms)
        return self._effects()

    def called(self, data: bytes, source: str, now_ms: int) -> tuple[bytes | None, list[Effect]]:
        """A frame came on a stream: a ping, or all that the peer knows."""
        del source
        kind, *rest = cbor2.loads(data)
        if self._left:
            return None, []
        if kind == PING:
            return cbor2.dumps((ACK, rest[0])), []
        answer = cbor2.dumps(self._everything())
        self._merge(rest[0], now_ms)
        return answer, self._effects()

    def answered(self, call_id: int, data: bytes | None, now_ms: int) -> list[Effect]:
        """A call has ended; None: without an answer."""
        what, about = self._calls.pop(call_id, ("", None))
        if what == "ping":
            if data is not None and self._probe is not None and self._probe.seq == about:
                self._probe.stream_answered = True
        elif what == "join":
            self._join_answered(about, data, now_ms)
        elif what == "exchange" and data is not None:
            self._merge(cbor2.loads(data)[1], now_ms)
        return self._effects()

    def join(self, seeds: Sequence[str], now_ms: int) -> list[Effect]:
        """Exchange everything with the members at these addresses, until one answers."""
        del now_ms
        self._join_left = list(seeds)
        self._join_reasons = []
        self._joining = True
        self._join_next()
        return self._effects()

    def leave(self, now_ms: int) -> list[Effect]:
        """Say so to some members, and be gone."""
        news = (DEAD_NEWS, self.node_id, self.incarnation, self.node_id)
        for target in self._random_members(self.settings.gossip_nodes, now_ms, alive_only=True):
            self._send(self._records[target].address, [news])
        self._left = True
        self._out.append(HasLeft())
        return self._effects()

    def write(self, entries: Mapping[str, Value | None], now_ms: int) -> list[Effect]:
        """Tell of a change of the own map; what it says is left out, for nobody looks at it."""
        del entries
        self._refute(self.incarnation, now_ms)
        return self._effects()

    def stall(self, now_ms: int) -> list[Effect]:
        """From now on whatever sends is caught in its next send."""
        del now_ms
        self.stalled = True
        return []

    def unstall(self, now_ms: int) -> list[Effect]:
        """Sends pass again; the driver now calls `step` for each of GOROUTINES until it is done."""
        del now_ms
        self.stalled = False
        return []

    def step(self, goroutine: str, now_ms: int) -> tuple[list[Effect], bool]:
        """Do what one goroutine that was caught does up to and with its next send.

        Returns effects, and whether there is more to do at once.
        """
        more = False
        if not self.stalled and not self._left:
            if goroutine == "probe":
                more = self._probe_step(now_ms)
            elif goroutine == "gossip":
                more = self._gossip_step(now_ms)
            elif self._exchange_caught:
                self._exchange_caught = False
                self._exchange(now_ms)
        return self._effects(), more

    # What experiments look at.

    def state_of(self, node_id: NodeId) -> State | None:
        """What is believed of one member."""
        record = self._records.get(node_id)
        return None if record is None else record.state

    def live(self) -> list[NodeId]:
        """Ids of members that are alive or suspect, this one included, ascending."""
        return sorted(
            node_id for node_id, record in self._records.items() if record.state <= State.SUSPECT
        )

    @property
    def view_hash(self) -> int:
        """Equal where the same live members are known."""
        return hash(tuple(self.live()))

    # Timers.

    def _at(self, at_ms: int, what: str, about: Any = None) -> None:
        self._timer_count += 1
        heappush(self._timers, (at_ms, self._timer_count, what, about))
        self.wake_at_ms = self._timers[0][0]

    def _due(self, what: str, about: Any, now_ms: int) -> None:
        if self._left:
            return
        s = self.settings
        match what:
            case "probe":
                self._at(now_ms + s.probe_interval_ms, "probe")
                if self._probe is None:
                    self._probe_next(now_ms)
                else:
                    self._tick_missed = True
            case "timeout" if self._probe is not None and self._probe.seq == about:
                if self._probe.stage == "wait":
                    self._probe_indirectly(self._probe, now_ms)
                    self._probe_sends(now_ms)
            case "expire" if self._probe is not None and self._probe.seq == about:
                self._probe.expired = True
                if self._probe.stage == "wait":
                    self._probe_indirectly(self._probe, now_ms)
                    self._probe_sends(now_ms)
                elif self._probe.stage == "last":
                    self._probe_failed(self._probe, now_ms)
            case "relay":
                self._relays.pop(about, None)
            case "gossip":
                self._gossip_ticking = False
                self._gossip(now_ms)
                self._gossip_tick(now_ms)
            case "exchange":
                self._at(now_ms + self._push_pull_ms(), "exchange")
                self._exchange(now_ms)
            case "suspicion":
                node_id, changed_ms = about
                record = self._records.get(node_id)
                if (
                    record is not None
                    and record.state is State.SUSPECT
                    and record.changed_ms == changed_ms
                ):
                    self._dead(node_id, record.incarnation, self.node_id, now_ms)

    # Probing.

    def _probe_next(self, now_ms: int) -> None:
        target = self._next_target(now_ms)
        if target is None:
            return
        self._seq += 1
        self._probe = _Probe(self._seq, target, self._records[target].incarnation, now_ms)
        # Registered before the ping is sent: a ping caught in its send uses up its own time.
        self._at(now_ms + self.settings.probe_interval_ms, "expire", self._seq)
        self._probe_sends(now_ms)

    def _next_target(self, now_ms: int) -> NodeId | None:
        for _ in range(2):
            while self._probe_index < len(self._order):
                target = self._order[self._probe_index]
                self._probe_index += 1
                if target != self.node_id and self._records[target].state <= State.SUSPECT:
                    return target
            self._forget_dead(now_ms)
            self._shuffle(self._order)
            self._probe_index = 0
        return None

    def _probe_sends(self, now_ms: int) -> None:
        """Send all that can be sent now."""
        while not self.stalled and self._probe_step(now_ms):
            pass

    def _probe_step(self, now_ms: int) -> bool:
        """One send of the prober, if it is about to; whether another follows at once."""
        probe = self._probe
        if probe is None:
            return False
        address = self._address_of(probe.target)
        if probe.stage == "ping":
            self._send(address, [(PING, probe.seq, probe.target)], piggyback=True)
            if probe.expired:
                self._probe_indirectly(probe, now_ms)
                return True
            probe.stage = "wait"
            self._at(now_ms + self.settings.probe_timeout_ms, "timeout", probe.seq)
            return False
        if probe.stage == "indirect":
            if probe.helpers:
                helper = probe.helpers.pop()
                request = (INDIRECT, probe.seq, probe.target, address)
                self._send(self._address_of(helper), [request], piggyback=True)
            if not probe.helpers:
                probe.stage = "stream"
            return True
        if probe.stage != "stream":
            return False
        left_ms = probe.begun_ms + self.settings.probe_interval_ms - now_ms
        if self.settings.stream_ping and left_ms > 0:
            self._call(address, (PING, probe.seq), left_ms, "ping", probe.seq)
        probe.stage = "last"
        if probe.expired:
            self._probe_failed(probe, now_ms)
        return self._probe is not probe

    def _probe_indirectly(self, probe: _Probe, now_ms: int) -> None:
        probe.stage = "indirect"
        probe.helpers = self._random_members(
            self.settings.indirect_probes, now_ms, alive_only=True, but=probe.target
        )

    def _probe_failed(self, probe: _Probe, now_ms: int) -> None:
        if not probe.stream_answered:
            self._suspect(probe.target, probe.incarnation, self.node_id, now_ms)
        self._probe_over(now_ms)

    def _probe_over(self, now_ms: int) -> None:
        self._probe = None
        if self._tick_missed:
            self._tick_missed = False
            self._probe_next(now_ms)

    # Messages.

    def _message(self, message: Sequence[Any], source: str, now_ms: int) -> None:
        kind = message[0]
        if kind == PING:
            if message[2] == self.node_id:
                self._send(source, [(ACK, message[1])], piggyback=True)
        elif kind == ACK:
            self._acked(message[1], now_ms)
        elif kind == INDIRECT:
            _, asked_seq, target, address = message
            self._seq += 1
            self._relays[self._seq] = (source, asked_seq)
            self._at(now_ms + self.settings.probe_timeout_ms, "relay", self._seq)
            self._send(address, [(PING, self._seq, target)], piggyback=True)
        elif kind == ALIVE:
            self._alive(message[1], message[2], message[3], now_ms)
        elif kind == SUSPECT:
            self._suspect(message[1], message[2], message[3], now_ms)
        elif kind == DEAD_NEWS:
            self._dead(message[1], message[2], message[3], now_ms)

    def _acked(self, seq: int, now_ms: int) -> None:
        relay = self._relays.pop(seq, None)
        if relay is not None:
            address, asked_seq = relay
            self._send(address, [(ACK, asked_seq)], piggyback=True)
        elif self._probe is not None and self._probe.seq == seq and not self._probe.expired:
            self._probe_over(now_ms)

    def _alive(self, node_id: NodeId, incarnation: int, address: str, now_ms: int) -> None:
        record = self._records.get(node_id)
        if node_id == self.node_id or (record is not None and incarnation <= record.incarnation):
            return
        self._spread((ALIVE, node_id, incarnation, address), node_id, now_ms)
        if record is None:
            record = _Record(State.ALIVE, incarnation, now_ms, address)
            self._add(node_id, record)
            self._tell(None, node_id, record)
            return
        before = self._member(node_id, record)
        record.incarnation, record.address = incarnation, address
        if record.state is not State.ALIVE:
            record.state, record.changed_ms = State.ALIVE, now_ms
        self._tell(before, node_id, record)

    def _suspect(self, node_id: NodeId, incarnation: int, by: NodeId, now_ms: int) -> None:
        record = self._records.get(node_id)
        if record is None or incarnation < record.incarnation or record.state is not State.ALIVE:
            return
        if node_id == self.node_id:
            self._refute(incarnation, now_ms)
            return
        self._spread((SUSPECT, node_id, incarnation, by), node_id, now_ms)
        before = self._member(node_id, record)
        record.state, record.incarnation = State.SUSPECT, incarnation
        record.changed_ms = now_ms
        self._at(
            now_ms + self.settings.suspicion_ms(len(self._records)), "suspicion", (node_id, now_ms)
        )
        self._tell(before, node_id, record)

    def _dead(self, node_id: NodeId, incarnation: int, by: NodeId, now_ms: int) -> None:
        record = self._records.get(node_id)
        if record is None or incarnation < record.incarnation or record.state >= State.DEAD:
            return
        if node_id == self.node_id:
            self._refute(incarnation, now_ms)
            return
        self._spread((DEAD_NEWS, node_id, incarnation, by), node_id, now_ms)
        before = self._member(node_id, record)
        record.state = State.LEFT if by == node_id else State.DEAD
        record.incarnation, record.changed_ms = incarnation, now_ms
        self._tell(before, node_id, record)

    def _refute(self, accused: int, now_ms: int) -> None:
        self.incarnation = max(self.incarnation, accused) + 1
        self._records[self.node_id].incarnation = self.incarnation
        self._spread((ALIVE, self.node_id, self.incarnation, self.address), self.node_id, now_ms)

    # Spreading.

    def _spread(self, message: Message, about: NodeId, now_ms: int) -> None:
        """Queue news; older news of the same member is dropped."""
        self._age += 1
        self._rumours[about] = _Rumour(0, self._age, about, SIZES[message[0]], message)
        self._gossip_tick(now_ms)

    def _gossip_tick(self, now_ms: int) -> None:
        """The next of the regular ticks, while there is something to send."""
        if self._gossip_ticking or not self._rumours:
            return
        self._gossip_ticking = True
        interval = self.settings.gossip_interval_ms
        passed = (now_ms - self._gossip_phase_ms) // interval
        self._at(self._gossip_phase_ms + (passed + 1) * interval, "gossip")

    def _news(self, bytes_left: int) -> list[Message]:
        """What was sent least often and is newest, as much as fits; counted as sent once."""
        if not self._rumours:
            return []
        limit = self.settings.transmits_max(len(self._records))
        taken: list[Message] = []
        for rumour in sorted(self._rumours.values(), key=lambda r: (r.transmits, -r.age)):
            if rumour.size > bytes_left:
                continue
            bytes_left -= rumour.size
            taken.append(rumour.message)
            rumour.transmits += 1
            if rumour.transmits >= limit:
                del self._rumours[rumour.about]
            if bytes_left < min(SIZES.values()):
                break
        return taken

    def _gossip(self, now_ms: int) -> None:
        if self._gossip_round is not None:
            self._gossip_round.tick_missed = True
            return
        targets = self._random_members(self.settings.gossip_nodes, now_ms)
        self._gossip_round = _GossipRound(targets, [])
        if self.stalled:
            self._gossip_round.first = self._news(DATAGRAM_BYTES)
            if not self._gossip_round.first or not targets:
                self._gossip_round = None
            return
        while self._gossip_step(now_ms):
            pass

    def _gossip_step(self, now_ms: int) -> bool:
        """One send of the gossiper, if it is in a round; whether another follows at once."""
        found = self._gossip_round
        if found is None:
            return False
        news = found.first or self._news(DATAGRAM_BYTES)
        found.first = []
        if news and found.targets:
            self._send(self._address_of(found.targets.pop(0)), news)
        if news and found.targets:
            return True
        self._gossip_round = None
        if found.tick_missed:
            targets = self._random_members(self.settings.gossip_nodes, now_ms)
            self._gossip_round = _GossipRound(targets, [])
        return found.tick_missed

    # Exchanges of everything.

    def _push_pull_ms(self) -> int:
        return self.settings.push_pull_ms(len(self._records))

    def _exchange(self, now_ms: int) -> None:
        if self.stalled:
            self._exchange_caught = True
            return
        for target in self._random_members(1, now_ms, alive_only=True):
            address = self._records[target].address
            self._call(address, self._everything(), self.settings.call_timeout_ms, "exchange", 0)

    def _everything(self) -> tuple[int, list[tuple[Any, ...]]]:
        return PUSH_PULL, [
            (node_id, int(record.state), record.incarnation, record.address)
            for node_id, record in self._records.items()
        ]

    def _merge(self, records: Iterable[Sequence[Any]], now_ms: int) -> None:
        for node_id, state, incarnation, address in records:
            if state == State.ALIVE:
                self._alive(node_id, incarnation, address, now_ms)
            elif state == State.LEFT:
                self._dead(node_id, incarnation, node_id, now_ms)
            else:
                # Dead members are only suspected, so that they may refute.
                self._suspect(node_id, incarnation, self.node_id, now_ms)

    def _join_next(self) -> None:
        if not self._joining:
            return
        if not self._join_left:
            self._joining = False
            self._out.append(JoinFailed(tuple(self._join_reasons)))
            return
        seed = self._join_left.pop(0)
        self._call(seed, self._everything(), self.settings.call_timeout_ms, "join", seed)

    def _join_answered(self, seed: str, data: bytes | None, now_ms: int) -> None:
        if data is None:
            self._join_reasons.append((seed, "no answer"))
            self._join_next()
            return
        self._joining = False
        self._merge(cbor2.loads(data)[1], now_ms)
        self._out.append(Joined(seed))

    # Small things.

    def _add(self, node_id: NodeId, record: _Record) -> None:
        """At a random place of the order in which members are probed."""
        self._records[node_id] = record
        self._order.append(node_id)
        place = self._below(len(self._order))
        self._order[place], self._order[-1] = self._order[-1], self._order[place]

    def _forget_dead(self, now_ms: int) -> None:
        kept = []
        for node_id in self._order:
            record = self._records[node_id]
            aged = now_ms - record.changed_ms > self.settings.gossip_to_dead_ms
            if record.state >= State.DEAD and aged:
                del self._records[node_id]
            else:
                kept.append(node_id)
        self._order = kept

    def _random_members(
        self, count: int, now_ms: int, *, alive_only: bool = False, but: NodeId | None = None
    ) -> list[NodeId]:
        """Up to so many different others: alive, or also suspect and lately dead."""
        chosen: list[NodeId] = []
        size = len(self._order)
        for _ in range(3 * size):
            if len(chosen) == count:
                break
            node_id = self._order[int(self._rng.random() * size)]
            if node_id in (self.node_id, but) or node_id in chosen:
                continue
            record = self._records[node_id]
            if record.state is State.ALIVE or (not alive_only and self._gossips_to(record, now_ms)):
                chosen.append(node_id)
        return chosen

    def _gossips_to(self, record: _Record, now_ms: int) -> bool:
        if record.state is State.DEAD:
            return now_ms - record.changed_ms <= self.settings.gossip_to_dead_ms
        return record.state is State.SUSPECT

    def _address_of(self, node_id: NodeId) -> str:
        record = self._records.get(node_id)
        return "" if record is None else record.address

    def _send(self, to: str, messages: list[Message], *, piggyback: bool = False) -> None:
        if not to:
            return
        if piggyback:
            messages += self._news(DATAGRAM_BYTES - 100)
        data = cbor2.dumps(messages)
        self._out.append(Send(to, data))

    def _call(self, to: str, frame: Message, timeout_ms: int, what: str, about: Any) -> None:
        if not to:
            return
        self._call_id += 1
        self._calls[self._call_id] = (what, about)
        self._out.append(Call(to, self._call_id, cbor2.dumps(frame), timeout_ms))

    def _member(self, node_id: NodeId, record: _Record) -> Member:
        return Member(node_id, 1, record.incarnation, record.state, 0, EMPTY_MAP)

    def _tell(self, before: Member | None, node_id: NodeId, record: _Record) -> None:
        self._out.append(Changed(before, self._member(node_id, record)))

    def _effects(self) -> list[Effect]:
        out, self._out = self._out, []
        return out

    def _below(self, bound: int) -> int:
        return int(self._rng.random() * bound)

    def _shuffle(self, items: list[NodeId]) -> None:
        for i in range(len(items) - 1, 0, -1):
            j = self._below(i + 1)
            items[i], items[j] = items[j], items[i]
