"""Which nodes are there, what they lead, and what waits to be said to them. A pure machine.

To each other member there is one link that we opened, which carries all that we say, and one that
it opened, which carries all that it says. Both keep their order. Heartbeats go over both if either
side has to know that the other lives; otherwise that is left to gossip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import xxhash

from mesh.links.frames import (
    Ask,
    Beat,
    Buffer,
    Frame,
    GroupId,
    Leads,
    Led,
    Reply,
    WantWhole,
    Watch,
    Word,
    Words,
    encode,
    parse_untrusted,
)
from mesh.model.types import NodeId

BEAT_MS = 150
"""Between heartbeats: three may be late before a leader counts as silent."""
SILENT_MS = 600
"""Whoever says nothing for so long is silent (docs/architecture.md, Committed)."""
WORDS_BYTES_MAX = 1 << 20
"""Of a frame of what groups say; one word may be longer, and is alone then. A longer frame would
keep heartbeats from coming through, and its header would be too large to be read."""
STEPS_MAX = 8_000
"""Batches in a frame, if it has more than one word: each takes some bytes of the header."""
BACKLOG_BYTES_MAX = 64 << 20
"""Of what waits for a slow link. What groups say beyond that is dropped; they say it again."""
NEVER_MS = -(1 << 60)


class Mark(NamedTuple):
    """How far a node's journal is; the larger was later."""

    start: int
    round: int


@dataclass(frozen=True, slots=True)
class Silent:
    """A node's heartbeats did not come for SILENT_MS, its link closed, or gossip holds it for dead.

    `heard_at_ms` is when something came last.
    """

    node_id: NodeId
    heard_at_ms: int
    closed: bool


@dataclass(frozen=True, slots=True)
class Reachable:
    """Our link to a node was made anew: what was on its way is lost."""

    node_id: NodeId


@dataclass(frozen=True, slots=True)
class LedChanged:
    """A node leads these, or (None) leads them no more."""

    node_id: NodeId
    changes: Mapping[GroupId, Led | None]


@dataclass(frozen=True, slots=True)
class Said:
    """A node's groups say something to ours."""

    node_id: NodeId
    words: Iterable[Word]


@dataclass(frozen=True, slots=True)
class Marked:
    """A node's journal is so far."""

    node_id: NodeId
    mark: Mark


@dataclass(frozen=True, slots=True)
class Asked:
    """A node hands on a request."""

    node_id: NodeId
    ask: Ask


@dataclass(frozen=True, slots=True)
class Replied:
    """A node answers what we handed on to it."""

    node_id: NodeId
    reply: Reply


Event: TypeAlias = "Silent | Reachable | LedChanged | Said | Marked | Asked | Replied"


@dataclass(slots=True)
class _Peer:
    node_id: NodeId
    out: bool = False
    """Whether our link to it is open."""
    accepted: bool = False
    """Whether its link to us is open."""
    heard: bool = False
    """Whether its link to us is open and not silent."""
    heard_at_ms: int = NEVER_MS
    watches: bool = False
    """Whether it has to know that we live; then we hear from it, too."""
    told_watch: bool | None = None
    """What we told it of whether we have to know that of it; None: nothing, over this link."""
    due_from_ms: int | None = None
    """Since when heartbeats of it are due; None while they are not."""
    led: dict[GroupId, Led] = field(default_factory=dict)
    version: int = 0
    digest: int = 0
    asked_whole: bool = False
    told_version: int = 0
    """Version of our own list that it was sent."""
    frames: list[Frame] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    words_bytes: int = 0
    """Of the batches of these."""
    backlog_bytes: int = 0

    @property
    def is_due(self) -> bool:
        """Whether it sends heartbeats: it told us to send ours, or we told it, and it heard."""
        return self.watches or (self.out and bool(self.told_watch))


class Links:
    """All links of one node. Instants are of the monotonic clock."""

    def __init__(self, node_id: NodeId, mark: Callable[[], Mark]) -> None:
        """Without any.

        Args:
            node_id: our own.
            mark: how far our journal is now.
        """
        self.node_id = node_id
        self._mark = mark
        self._peers: dict[NodeId, _Peer] = {}
        self._led: dict[GroupId, Led] = {}
        self._digest = 0
        self._version = 1
        self._changed: dict[GroupId, None] = {}
        self._ready: dict[NodeId, None] = {}
        self._beat_at_ms = 0
        self._reasons: dict[NodeId, int] = {}
        """How many reasons there are to know that a node lives, of those with any."""
        self._dead: frozenset[NodeId] = frozenset()
        self.dropped_words = 0
        """Messages of groups that a slow or missing link did not take."""

    # What others ask

    def heard_at_ms(self, node_id: NodeId, /) -> int:
        """Return when something last came from a node over an open link; NEVER_MS if never."""
        peer = self._peers.get(node_id)
        return peer.heard_at_ms if peer is not None and peer.heard else NEVER_MS

    def is_open(self, node_id: NodeId) -> bool:
        """Whether something can be said to a node now."""
        peer = self._peers.get(node_id)
        return peer is not None and peer.out

    def is_there(self, node_id: NodeId) -> bool:
        """Whether a node can be spoken to and is not silent; see `watch`."""
        peer = self._peers.get(node_id)
        return peer is not None and peer.out and peer.heard

    def led_by(self, node_id: NodeId) -> Mapping[GroupId, Led]:
        """Return what a node says that it leads."""
        peer = self._peers.get(node_id)
        return MappingProxyType(peer.led if peer is not None else {})

    @property
    def wake_at_ms(self) -> int:
        """When `tick` is due."""
        return self._beat_at_ms

    # Links come and go

    def opened(self, node_id: NodeId) -> list[Event]:
        """Our link to a node is open, perhaps once more."""
        peer = self._peers.setdefault(node_id, _Peer(node_id))
        peer.out, peer.told_version, peer.backlog_bytes = True, 0, 0
        peer.told_watch = None
        peer.frames, peer.words, peer.words_bytes = [self._whole()], [], 0
        peer.told_version = self._version
        self._ready[node_id] = None
        return [Reachable(node_id)]

    def closed(self, node_id: NodeId) -> None:
        """Our link to a node is gone; whether the node is, its own link to us tells."""
        if (peer := self._peers.get(node_id)) is not None:
            peer.out = False
            peer.frames, peer.words, peer.words_bytes = [], [], 0

    def accepted(self, node_id: NodeId, now_ms: int) -> None:
        """A node's link to us is open, perhaps once more."""
        peer = self._peers.setdefault(node_id, _Peer(node_id))
        peer.accepted, peer.watches, peer.due_from_ms = True, False, None
        peer.heard, peer.heard_at_ms = True, now_ms
        peer.version, peer.asked_whole = 0, False
        # Our link to it may be to a process that is no more. Only who says something notices.
        peer.told_watch = None

    def lost(self, node_id: NodeId) -> list[Event]:
        """A node's link to us is gone: mostly its process is."""
        peer = self._peers.get(node_id)
        if peer is None:
            return []
        peer.accepted = peer.watches = False
        return self._silent(peer, closed=True)

    def forget(self, node_id: NodeId) -> list[Event]:
        """A node is no member any more."""
        events = self.lost(node_id)
        self._peers.pop(node_id, None)
        return events

    def _silent(self, peer: _Peer, *, closed: bool) -> list[Event]:
        if not peer.heard:
            return []
        peer.heard = False
        changes: dict[GroupId, Led | None] = dict.fromkeys(peer.led)
        peer.led, peer.version, peer.digest = {}, 0, 0
        events: list[Event] = [Silent(peer.node_id, peer.heard_at_ms, closed)]
        if changes:
            events.append(LedChanged(peer.node_id, changes))
        return events

    # Who has to know whether a node lives

    def watch(self, node_id: NodeId) -> None:
        """There is one reason more to know that a node lives: heartbeats go over both links.

        Of a node that neither side watches, a closed link tells, and gossip.
        """
        self._reasons[node_id] = self._reasons.get(node_id, 0) + 1

    def unwatch(self, node_id: NodeId) -> None:
        """One of the reasons is gone."""
        left = self._reasons[node_id] - 1
        if left:
            self._reasons[node_id] = left
        else:
            del self._reasons[node_id]

    @property
    def reasons(self) -> dict[NodeId, int]:
        """How many there are to know that a node lives, of those with any."""
        return dict(self._reasons)

    def dead(self, node_ids: Iterable[NodeId]) -> list[Event]:
        """Gossip holds these nodes for dead, and no others; where heartbeats go, they decide."""
        before, self._dead = self._dead, frozenset(node_ids)
        events: list[Event] = []
        for node_id in sorted(self._dead - before):
            peer = self._peers.get(node_id)
            if peer is not None and not peer.is_due:
                events += self._silent(peer, closed=False)
        return events

    # What is said

    def lead(self, group: GroupId, led: Led | None) -> None:
        """We lead a group so, or (None) no more; everybody is told with the next flush."""
        before = self._led.get(group)
        if before == led:
            return
        if before is not None:
            self._digest ^= _digest(group, before)
        if led is None:
            del self._led[group]
        else:
            self._led[group] = led
            self._digest ^= _digest(group, led)
        self._changed[group] = None

    def say(self, node_id: NodeId, word: Word) -> None:
        """Say something to a node's group; lost if there is no link, or too much waits."""
        peer = self._peers.get(node_id)
        if (
            peer is None
            or not peer.out
            or peer.backlog_bytes + peer.words_bytes > BACKLOG_BYTES_MAX
        ):
            self.dropped_words += 1
            return
        peer.words.append(word)
        peer.words_bytes += sum(map(len, word.blobs))
        self._ready[node_id] = None

    def put(self, node_id: NodeId, frame: Ask | Reply) -> bool:
        """Send a frame; False if there is no link, or too much waits for it."""
        peer = self._peers.get(node_id)
        if peer is None or not peer.out or peer.backlog_bytes > BACKLOG_BYTES_MAX:
            return False
        peer.frames.append(frame)
        self._ready[node_id] = None
        return True

    def flush(self) -> list[tuple[NodeId, list[Buffer]]]:
        """Return what is to be sent now, in order: a node, and the pieces of one frame each."""
        if self._changed:
            self._tell_changes()
        if not self._ready:
            return []
        sent = []
        for node_id in self._ready:
            peer = self._peers.get(node_id)
            if peer is None or not peer.out:
                continue
            frames, peer.frames = peer.frames, []
            if peer.words:
                frames += _in_frames(peer.words)
                peer.words, peer.words_bytes = [], 0
            sent += [(node_id, encode(frame)) for frame in frames]
        self._ready.clear()
        return sent

    def backlog(self, node_id: NodeId, size: int) -> None:
        """So many bytes for a node wait for its link."""
        if (peer := self._peers.get(node_id)) is not None:
            peer.backlog_bytes = size

    def _whole(self) -> Leads:
        return Leads(0, self._version, dict(self._led))

    def _tell_changes(self) -> None:
        since, self._version = self._version, self._version + 1
        changed, self._changed = self._changed, {}
        led = {group: self._led[group] for group in changed if group in self._led}
        gone = tuple(group for group in changed if group not in self._led)
        frame = Leads(since, self._version, led, gone)
        for peer in self._peers.values():
            if peer.out:
                # A list that was put here before says all of this already.
                if peer.told_version == since:
                    peer.frames.append(frame)
                else:
                    peer.frames.append(self._whole())
                peer.told_version = self._version
                self._ready[peer.node_id] = None

    # What is heard

    def received(self, node_id: NodeId, data: memoryview, now_ms: int) -> list[Event]:
        """A frame came over a node's link to us.

        Raises:
            BadFrameError: it is nothing that a member says; the link is to be closed.
        """
        peer = self._peers.get(node_id)
        if peer is None:
            return []  # It is no member any more, and its link is about to be closed.
        frame = parse_untrusted(data)
        if not peer.heard and not isinstance(frame, Leads):
            self._want_whole(peer)  # What it led was forgotten when it fell silent.
        peer.heard, peer.heard_at_ms = True, now_ms
        match frame:
            case Words(words):
                return [Said(node_id, words)]
            case Beat(version, digest, start, round_):
                if (version, digest) != (peer.version, peer.digest):
                    self._want_whole(peer)
                return [Marked(node_id, Mark(start, round_))]
            case Leads():
                return self._hear_leads(peer, frame)
            case WantWhole():
                # One that is on its way says all: or small questions would make much to send.
                waits = any(isinstance(one, Leads) and not one.since for one in peer.frames)
                if peer.out and not waits and peer.backlog_bytes <= BACKLOG_BYTES_MAX:
                    peer.frames.append(self._whole())
                    peer.told_version = self._version
                    self._ready[node_id] = None
                return []
            case Watch(wanted):
                peer.watches = wanted
                return []
            case Ask():
                return [Asked(node_id, frame)]
            case Reply():
                return [Replied(node_id, frame)]

    def _hear_leads(self, peer: _Peer, frame: Leads) -> list[Event]:
        changes: dict[GroupId, Led | None] = {**frame.led}
        if frame.since == 0:
            changes |= dict.fromkeys(group for group in peer.led if group not in frame.led)
        elif frame.since == peer.version:
            changes |= dict.fromkeys(frame.gone)
        else:
            self._want_whole(peer)
            return []
        peer.version, peer.asked_whole = frame.version, False
        for group, led in changes.items():
            before = peer.led.pop(group, None)
            if before is not None:
                peer.digest ^= _digest(group, before)
            if led is not None:
                peer.led[group] = led
                peer.digest ^= _digest(group, led)
        return [LedChanged(peer.node_id, changes)] if changes else []

    def _want_whole(self, peer: _Peer) -> None:
        if peer.out and not peer.asked_whole:
            peer.asked_whole = True
            peer.frames.append(WantWhole())
            self._ready[peer.node_id] = None

    # Time

    def tick(self, now_ms: int) -> list[Event]:
        """Send heartbeats, and notice who is silent."""
        if now_ms < self._beat_at_ms:
            return []
        late_ms = now_ms - self._beat_at_ms
        if self._beat_at_ms and late_ms > BEAT_MS:
            # This process stood still: what came meanwhile is not read yet, so time is given back.
            for peer in self._peers.values():
                peer.heard_at_ms = min(peer.heard_at_ms + late_ms, now_ms)
                if peer.due_from_ms is not None:
                    peer.due_from_ms += late_ms
        self._beat_at_ms = now_ms + BEAT_MS
        if self._changed:
            self._tell_changes()
        beat = Beat(self._version, self._digest, *self._mark())
        events: list[Event] = []
        for peer in self._peers.values():
            peer.asked_whole = peer.asked_whole and not peer.out
            self._beat(peer, beat)
            if not peer.is_due:
                peer.due_from_ms = None
                if peer.accepted and not peer.heard and peer.node_id not in self._dead:
                    self._want_whole(peer)  # It will not speak by itself.
            elif peer.due_from_ms is None:
                peer.due_from_ms = now_ms
            elif peer.heard and now_ms - max(peer.heard_at_ms, peer.due_from_ms) >= SILENT_MS:
                events += self._silent(peer, closed=False)
        return events

    def _beat(self, peer: _Peer, beat: Beat) -> None:
        """Send a heartbeat, if one of us has to know of the other; and what is new of that."""
        watch = peer.node_id in self._reasons
        if peer.out and watch != peer.told_watch:
            peer.told_watch = watch
            peer.frames += (Watch(watch), beat)
            self._ready[peer.node_id] = None
        elif peer.out and (watch or peer.watches):
            peer.frames.append(beat)
            self._ready[peer.node_id] = None


def _in_frames(words: Iterable[Word]) -> Iterator[Words]:
    """Yield frames of such a size that the other side reads them, and hears beats between them."""
    some: list[Word] = []
    size = steps = 0
    for word in words:
        blobs = word.blobs
        added = sum(map(len, blobs))
        if some and (size + added > WORDS_BYTES_MAX or steps + len(blobs) > STEPS_MAX):
            yield Words(some)
            some, size, steps = [], 0, 0
        some.append(word)
        size, steps = size + added, steps + len(blobs) + 1
    yield Words(some)


def _digest(group: GroupId, led: Led) -> int:
    """Return a hash of one leadership; those of a list are put together by exclusive or."""
    return xxhash.xxh3_64_intdigest(repr((group, tuple(led))).encode())
