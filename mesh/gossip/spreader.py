"""How news travels: passed on at once to a few, soon to a few more, then offered to others.

Source of the two steps: epidemic broadcast with lazy repair (Plumtree, 2007).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice

import cbor2

from mesh.gossip.context import LOSS_SHARE_HIGH, LOSS_SHARE_MIN, Context
from mesh.gossip.effects import Send
from mesh.gossip.member import Member, State
from mesh.gossip.messages import HAVE, NEWS, WANT, encode_full, stub_of, with_items
from mesh.gossip.view import ring_key, spread_targets
from mesh.model.types import NodeId

BURST_MAX = 4
"""Rounds at once; then one each PAUSE_MS. Each round carries all that has come meanwhile."""
PAUSE_MS = 500
COPIES_ENOUGH = 3
"""Where so many have sent the same, as they do if nothing is lost, no more steps are needed."""
OFFERS, OFFERS_AT_LOSS = 3, 5
"""To how many a node says what it has, three times, where datagrams get lost, or many do."""
OFFER_STEPS = (2, 4, 6)
DATAGRAMS_MAX = 48
"""Of one round to one peer; the rest goes with the next."""
WANTED_MAX = 64
"""Members whose maps are sent for one datagram that asks."""
HEAD_BYTES = 48


class Spreader:
    """Passes news of one machine on."""

    def __init__(self, context: Context) -> None:
        """Begin with nothing to tell."""
        self._context = context
        self._news: dict[NodeId, bytes] = {}
        self._newest: dict[NodeId, bytes] = {}
        """What was passed on last of whom, as long as there are steps to come."""
        self._copies: dict[NodeId, int] = {}
        """How often others have sent that since."""
        self._tokens = float(BURST_MAX)
        self._tokens_ms = 0
        self._round_due = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be passed on, nor offered."""
        return not self._news and not self._newest

    @property
    def load(self) -> dict[str, int]:
        """Sizes of what could grow."""
        return {"news": len(self._news), "newest": len(self._newest)}

    def tell(self, node_id: NodeId, record: bytes) -> None:
        """Pass a record on with the next round; it takes the place of an older one."""
        self._news[node_id] = record
        self._copies[node_id] = 0

    def heard_again(self, node_id: NodeId) -> None:
        """Somebody sent what is known already."""
        if node_id in self._copies:
            self._copies[node_id] += 1

    def run(self, now_ms: int) -> None:
        """Begin a round if there is news and rounds have not been too many."""
        if not self._news or self._round_due:
            return
        elapsed = now_ms - self._tokens_ms
        self._tokens = min(BURST_MAX, self._tokens + elapsed / PAUSE_MS)
        self._tokens_ms = now_ms
        if self._tokens >= 1:
            self._tokens -= 1
            self._round(now_ms)
            return
        self._round_due = True
        wait_ms = int((1 - self._tokens) * PAUSE_MS) + 1
        self._context.at(now_ms + wait_ms, self._late_round)

    def _late_round(self, now_ms: int) -> None:
        self._round_due = False
        self.run(now_ms)

    def _round(self, now_ms: int) -> None:
        settings = self._context.settings
        batch = self._take()
        self._newest.update(batch)
        turn = ring_key(min(batch)) + len(batch)
        targets = self._targets(turn, settings.fan_out + settings.fan_out_later)
        self._send_records(list(batch.values()), targets[: settings.fan_out])
        later = targets[settings.fan_out :]
        self._context.at(now_ms + settings.later_ms, partial(self._later, batch, later))
        for step in OFFER_STEPS:
            call = partial(self._offer, batch, turn + step, step == OFFER_STEPS[-1])
            self._context.at(now_ms + step * settings.later_ms, call)
        if self._news:
            self.run(now_ms)

    def _take(self) -> dict[NodeId, bytes]:
        room = DATAGRAMS_MAX * self._room
        batch: dict[NodeId, bytes] = {}
        for node_id, record in self._news.items():
            room -= len(record)
            if room < 0 and batch:
                break
            batch[node_id] = record
        for node_id in batch:
            del self._news[node_id]
        return batch

    @property
    def _room(self) -> int:
        return self._context.settings.datagram_bytes_max - HEAD_BYTES

    def _later(self, batch: dict[NodeId, bytes], targets: list[NodeId], now_ms: int) -> None:
        del now_ms
        self._send_records(
            [
                record
                for node_id, record in batch.items()
                if self._newest.get(node_id) is record and self._copies[node_id] < COPIES_ENOUGH
            ],
            targets,
        )

    def _offer(self, batch: dict[NodeId, bytes], turn: int, is_last: bool, now_ms: int) -> None:
        del now_ms
        view = self._context.view
        members = []
        for node_id, record in batch.items():
            if self._newest.get(node_id) is not record:
                continue
            if is_last:
                del self._newest[node_id]
                if node_id not in self._news:
                    del self._copies[node_id]
            member = view.get(node_id)
            if member is not None:
                members.append(member)
        loss_share = self._context.loss_share
        if members and loss_share > LOSS_SHARE_MIN:
            offers = OFFERS if loss_share < LOSS_SHARE_HIGH else OFFERS_AT_LOSS
            self.offer(members, self._targets(turn, offers))

    def offer(self, members: Iterable[Member], targets: Sequence[NodeId]) -> None:
        """Tell these nodes how much is known of these members; they ask for what is new."""
        stubs = [cbor2.dumps(number) for member in members for number in stub_of(member)]
        per_datagram = self._room // 30 * 5  # Five integers take at most 33 bytes, 12 mostly.
        for begin in range(0, len(stubs), per_datagram):
            self._send(HAVE, stubs[begin : begin + per_datagram], targets)

    def _targets(self, turn: int, count: int) -> list[NodeId]:
        view, me = self._context.view, self._context.node_id
        place = view.place(me)
        ring = view.ring
        if place >= len(ring) or ring[place] != me:  # Held dead by others, and so by itself.
            return [ring[(place + step) % len(ring)] for step in range(min(count, len(ring)))]
        return spread_targets(ring, place, turn, count)

    def _send_records(self, records: Sequence[bytes], targets: Sequence[NodeId]) -> None:
        for items in self.packed(records):
            self._send(NEWS, items, targets)

    def packed(self, records: Iterable[bytes]) -> Iterable[list[bytes]]:
        """Divide records among datagrams; one that fits into none is left to the streams."""
        items: list[bytes] = []
        room = self._room
        for record in records:
            if len(record) > self._room:
                continue
            if len(record) > room:
                yield items
                items, room = [], self._room
            items.append(record)
            room -= len(record)
        if items:
            yield items

    def _send(self, kind: int, items: Sequence[bytes], targets: Sequence[NodeId]) -> None:
        if not items:
            return
        data = self.datagram(kind, items)
        view, out = self._context.view, self._context.out
        for target in targets:
            member = view.get(target)
            if member is not None and (address := member.address):
                out.append(Send(address, data))

    def datagram(self, kind: int, items: Sequence[bytes]) -> bytes:
        """Return a datagram of this kind that carries these items and asks for no answer."""
        context = self._context
        head = (kind, context.tag, context.node_id, context.start, 0, context.view.view_hash, 0, ())
        return with_items(cbor2.dumps(head), items)

    # To one peer

    def send_to(self, address: str, records: Sequence[bytes]) -> None:
        """Send records to one peer, in as many datagrams as they need."""
        for items in self.packed(records):
            self._context.out.append(Send(address, self.datagram(NEWS, items)))

    def answer_want(self, ids: Iterable[NodeId], source: str) -> None:
        """Send all that is known of these members; of one that has too much, only the state."""
        view = self._context.view
        members = [m for m in map(view.get, islice(ids, WANTED_MAX)) if m is not None]
        self.send_to(source, [encode_full(m) for m in members if m.state is not State.SUSPECT])
        # What a suspect is accused of spreads by itself; here its map matters.
        suspects = [m._replace(state=State.ALIVE) for m in members if m.state is State.SUSPECT]
        self.send_to(source, [encode_full(m) for m in suspects])

    def ask(self, ids: Sequence[NodeId], source: str) -> None:
        """Ask one peer for all that it knows of these members."""
        per_datagram = self._room // 5
        for begin in range(0, len(ids), per_datagram):
            items = [cbor2.dumps(node_id) for node_id in ids[begin : begin + per_datagram]]
            self._context.out.append(Send(source, self.datagram(WANT, items)))
