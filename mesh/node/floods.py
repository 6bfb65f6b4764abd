"""Who says too much, or nonsense, at the peer port is not listened to for a while, and is named.

A machine: the time is passed in. Each member has an allowance of its own, by its address, so that
nobody else can use it up. All others share one, for without a cluster key a source can be forged,
and so can a thousand of them. Streams cannot be forged: a host whose streams say what is no frame
again and again may open none for a while.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from mesh.gossip import Changed
from mesh.gossip.settings import MEMBERS_MAX

MEMBER_RATE = 2_000
"""Datagrams a second of one member, ten times what one was seen to send to another when a thousand
joined at once; twice as many at a time."""
LINK_RATE = 20_000
"""Frames a second over one link, twice as many at a time: some 20 µs each are much of a core.
All that is said in one event leaves in one frame, and no node has half as many events a second."""
STRANGERS_RATE = 2_000
STRANGERS_RATE_PER_MEMBER = 20
"""Of all others together: members that send from another address than they tell are among them."""
CUT_MS = 10_000
STRIKES_MAX = 20
"""Streams of a host without a good frame, in CUT_MS."""
HOSTS_MAX = 1_000
"""With strikes, remembered at a time; only a stream makes one, which cannot be forged."""
SOURCES_MAX = 1_000
"""Strangers that are counted, to name the one that said most."""


class Verdict(NamedTuple):
    """Whether a datagram is listened to, and what people are to hear of its source."""

    admitted: bool
    told: str = ""


ADMITTED, IGNORED = Verdict(admitted=True), Verdict(admitted=False)


class _Bucket:
    """What may still be said, in thousandths of a datagram."""

    __slots__ = ("at_ms", "cut_until_ms", "left")

    def __init__(self, rate: int, now_ms: int) -> None:
        self.left = 2_000 * rate
        self.at_ms = now_ms
        self.cut_until_ms = now_ms

    def take(self, rate: int, now_ms: int) -> bool:
        """Take one, if there is one."""
        left = min(2_000 * rate, self.left + (now_ms - self.at_ms) * rate)
        self.at_ms = now_ms
        self.left = left - 1_000 if left >= 1_000 else left
        return left >= 1_000

    def charge(self, count: int, rate: int, now_ms: int) -> int:
        """Take so many, there or not; return in how many milliseconds nothing is owed."""
        left = min(2_000 * rate, self.left + (now_ms - self.at_ms) * rate)
        self.at_ms, self.left = now_ms, left - 1_000 * count
        return max(0, -(self.left // rate))


class LinkFlow:
    """How fast one link is read. Nothing is refused: what is not read waits at the other side."""

    __slots__ = ("_bucket",)

    def __init__(self, now_ms: int) -> None:
        """Nothing was said yet."""
        self._bucket = _Bucket(LINK_RATE, now_ms)

    def wait_ms(self, frames: int, now_ms: int) -> int:
        """Count frames that were heard; return for how long no more are to be read."""
        return self._bucket.charge(frames, LINK_RATE, now_ms)


class Floods:
    """Bounds what one node listens to."""

    def __init__(self, now_ms: int) -> None:
        """Nobody is known yet."""
        self._members: dict[str, _Bucket | None] = {}
        """By address; a bucket is made when the first datagram comes."""
        self._strangers = _Bucket(STRANGERS_RATE, now_ms)
        self._sources: Counter[str] = Counter()
        self._strikes: dict[str, list[int]] = {}
        """Of a host: how many, since when, and until when it is cut off."""

    def heed(self, change: Changed) -> None:
        """A member is believed to be somewhere."""
        address = change.after.address
        if address not in self._members:
            while len(self._members) >= 2 * MEMBERS_MAX:
                del self._members[next(iter(self._members))]
            self._members[address] = None

    def admits(self, source: str, now_ms: int) -> Verdict:
        """Say whether a datagram of this source is listened to; of a flood it is told once."""
        if source not in self._members:
            return self._admits_stranger(source, now_ms)
        bucket = self._members[source]
        if bucket is None:
            bucket = self._members[source] = _Bucket(MEMBER_RATE, now_ms)
        if now_ms < bucket.cut_until_ms:
            return IGNORED
        if bucket.take(MEMBER_RATE, now_ms):
            return ADMITTED
        bucket.cut_until_ms = now_ms + CUT_MS
        text = f"sends more than {MEMBER_RATE} datagrams a second, and is not listened to for "
        return Verdict(admitted=False, told=f"{text}{CUT_MS // 1000} s")

    def _admits_stranger(self, source: str, now_ms: int) -> Verdict:
        rate = STRANGERS_RATE + STRANGERS_RATE_PER_MEMBER * len(self._members)
        bucket = self._strangers
        if now_ms < bucket.cut_until_ms:
            return IGNORED
        if source in self._sources or len(self._sources) < SOURCES_MAX:
            self._sources[source] += 1
        if bucket.take(rate, now_ms):
            if bucket.left >= 1_000 * rate:  # A quiet second: what was said before is no flood.
                self._sources.clear()
            return ADMITTED
        bucket.cut_until_ms = now_ms + CUT_MS
        ((most, count),) = self._sources.most_common(1)
        self._sources.clear()
        text = (
            f"and others that are no members send more than {rate} datagrams a second, {count} of "
            f"them {most}; who is no member is not listened to for {CUT_MS // 1000} s"
        )
        return Verdict(admitted=False, told=text)

    def may_open(self, host: str, now_ms: int) -> bool:
        """Whether a host may open a stream now."""
        found = self._strikes.get(host)
        return found is None or now_ms >= found[2]

    def strike(self, host: str, now_ms: int) -> bool:
        """Count a stream without a good frame; return whether its host was cut off for it."""
        found = self._strikes.pop(host, None)
        if found is None or now_ms - found[1] > CUT_MS:
            while len(self._strikes) >= HOSTS_MAX:
                del self._strikes[next(iter(self._strikes))]
            found = [0, now_ms, now_ms]
        self._strikes[host] = found
        found[0] += 1
        if found[0] < STRIKES_MAX:
            return False
        self._strikes[host] = [0, now_ms, now_ms + CUT_MS]
        return True
