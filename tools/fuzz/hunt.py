"""The hunt: batches of frames, a look at the node after each, and the smallest cause found."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mesh.node.options import Address
from mesh.wire import WireError
from tools.bench.generator import BenchError
from tools.errors import CommandError, Exit
from tools.fuzz.canary import Canary, UnwellError
from tools.fuzz.links import CLUSTER_ID, link_bursts
from tools.fuzz.links import NAME as LINK
from tools.fuzz.mutate import Mutator
from tools.fuzz.send import OPEN_MAX, Connect, Sent, send, to_tcp, to_unix
from tools.fuzz.talk import peer_bursts
from tools.fuzz.target import Figures, Target, own_node
from tools.fuzz.text import admin_bursts, control_bursts

BATCH_FRAMES = 20_000
WARM_BATCHES = 2
"""Batches until buffers, caches and compiled codecs have their size."""
GROWTH_BYTES_MAX = 64 << 20
DESCRIPTORS_MORE_MAX = 64
LOG_LINES_PER_S_MAX = 50
"""Sixteen hosts with twenty lines each in ten seconds are 32; the node may say some of its own."""
LOG_LINES_MAX = 2_000
"""For short runs, in which a second counts for little."""

ENDING_S = 3.0
"""A process that refuses connections may still be on its way out."""

SHRINK_TRIALS_MAX = 80
SHRINK_S_MAX = 240.0

Burst = Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and how to see it again."""

    what: str
    seed: int
    batch: int
    bursts: list[Burst] = field(default_factory=list)
    """The fewest that were found to do it, one connection each; none if it was not seen again."""


@dataclass(slots=True)
class Outcome:
    """What a hunt on one port did and saw."""

    port: str
    seed: int
    frames_wanted: int
    sent: Sent = field(default_factory=Sent)
    seconds: float = 0.0
    first: Figures | None = None
    """After the warm batches."""
    last: Figures | None = None
    most_bytes: int = 0
    finding: Finding | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all frames went out."""
        return self.sent.frames >= self.frames_wanted


@dataclass(frozen=True, slots=True)
class Port:
    """One way into a node."""

    name: str
    bursts: Callable[[random.Random, int], Iterable[Burst]]
    """Makes the bursts of a batch of so many frames."""
    connect: Callable[[Target], Connect]
    open_max: int = OPEN_MAX
    is_framed: bool = True
    markers: Callable[[Target], Mapping[bytes, bytes]] = lambda target: {}
    """What stands in its bursts for what only the node tells, of the same length."""


def _to_admin(target: Target) -> Connect:
    assert target.node is not None, "only of a node of our own it is known"
    return to_tcp(target.node.admin)


def _to_control(target: Target) -> Connect:
    assert target.node is not None, "only of a node of our own it is known"
    return to_unix(target.node.control)


def _to_peers(target: Target) -> Connect:
    assert target.node is not None, "only of a node of our own it is known"
    return to_tcp(target.node.peer, hosts=PEER_HOSTS)


def _cluster(target: Target) -> Mapping[bytes, bytes]:
    assert target.node is not None, "only of a node of our own it is known"
    return {CLUSTER_ID: target.node.cluster_id}


PEER_HOSTS = 1 << 20
"""So many that none opens enough bad streams to be cut off, or most would be sent in vain."""

PORTS = {
    "kafka": Port(
        "kafka",
        lambda rng, frames: Mutator(rng).bursts(frames),
        lambda target: to_tcp(target.address),
    ),
    "admin": Port("admin", admin_bursts, _to_admin, open_max=16, is_framed=False),
    "peer": Port("peer", peer_bursts, _to_peers, open_max=16),
    LINK: Port(LINK, link_bursts, _to_peers, open_max=8, markers=_cluster),
    "control": Port("control", control_bursts, _to_control, open_max=8, is_framed=False),
}


def bursts_of(port: Port, seed: int, batch: int, frames: int) -> list[Burst]:
    """Return the bursts of one batch: always the same for the same numbers and release."""
    return list(port.bursts(random.Random(f"{seed}/{port.name}/{batch}"), frames))


def hunt(
    port: Port,
    seed: int,
    frames: int,
    *,
    seconds_max: float,
    against: Address | None = None,
    first_batch: int = 0,
    progress: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Fuzz a port of a node; stop at the first finding.

    Args:
        port: which.
        seed: of all random numbers.
        frames: how many to send.
        seconds_max: after which no new batch begins.
        against: a node that runs; a node of our own if not given.
        first_batch: where in the sequence of the seed to begin.
        progress: called after each batch.

    Raises:
        CommandError: the node did not start, or does not serve to begin with.
    """
    outcome = Outcome(port.name, seed, frames)
    begin_s = time.monotonic()
    batch = first_batch
    bursts: list[Burst] = []
    with contextlib.nullcontext(Target(against)) if against else own_node() as target:
        visit = Visit(port, target, outcome)
        while not outcome.is_complete and time.monotonic() - begin_s < seconds_max:
            bursts = bursts_of(port, seed, batch, min(BATCH_FRAMES, frames - outcome.sent.frames))
            what = visit.batch(bursts, begin_s + seconds_max, batch - first_batch)
            outcome.seconds = time.monotonic() - begin_s
            if what is not None:
                outcome.finding = Finding(what, seed, batch)
                break
            progress(outcome)
            batch += 1
    if outcome.finding is not None and against is None and "grew" not in outcome.finding.what:
        smallest = shrink(bursts, lambda some: replay(port, some) is not None)
        outcome.finding = Finding(outcome.finding.what, seed, batch, smallest)
    return outcome


class Visit:
    """One node while it is fuzzed."""

    def __init__(self, port: Port, target: Target, outcome: Outcome) -> None:
        """Raises CommandError if the node does not serve to begin with."""
        self._port = port
        self._target = target
        self._outcome = outcome
        self._began_s = time.monotonic()
        try:
            self._canary = Canary(target.address, node_is_ours=target.node is not None)
        except (UnwellError, BenchError, WireError, OSError) as error:
            raise CommandError(
                f"the node at {target.address} does not serve: {error}", status=Exit.CONNECT
            ) from error

    def batch(self, bursts: Sequence[Burst], until_s: float, number: int) -> str | None:
        """Send a batch and look at the node; return what is wrong with it, if anything is."""
        outcome = self._outcome
        try:
            ids = {**self._canary.renew_topics(), **self._port.markers(self._target)}
            connect = self._port.connect(self._target)
            send(
                bursts,
                connect,
                ids,
                outcome.sent,
                until_s=until_s,
                open_max=self._port.open_max,
                is_framed=self._port.is_framed,
            )
            self._canary.breathe()
            self._canary.renew_topics()
            if (node := self._target.node) is None:
                return None
            strange = node.read_log()
            figures = node.figures()
        except (UnwellError, BenchError, WireError, OSError) as error:
            return self._ended(ENDING_S) or f"it does not serve: {error}"
        if strange:
            return f"its log says: {strange[0]}"
        outcome.last = figures
        outcome.most_bytes = max(outcome.most_bytes, figures.rss_bytes)
        if number < WARM_BATCHES or outcome.first is None:
            outcome.first = figures
        seconds = time.monotonic() - self._began_s
        return self._ended() or growth(outcome.first, figures, seconds)

    def _ended(self, wait_s: float = 0.0) -> str | None:
        node = self._target.node
        if node is None or (status := node.status(wait_s=wait_s)) is None:
            return None
        return f"it ended with status {status}: {node.last_words()}"


def growth(first: Figures, now: Figures, seconds: float) -> str | None:
    """Return what has grown since `first`, over so many seconds; None if nothing did."""
    more = now.rss_bytes - first.rss_bytes
    if more > GROWTH_BYTES_MAX:
        return f"its memory grew by {more / 1e6:.0f} MB to {now.rss_bytes / 1e6:.0f} MB"
    if now.descriptors > first.descriptors + DESCRIPTORS_MORE_MAX:
        return f"its open files grew from {first.descriptors} to {now.descriptors}"
    if now.log_lines > LOG_LINES_MAX + LOG_LINES_PER_S_MAX * seconds:
        return f"its log grew by {now.log_lines} lines in {seconds:.0f} s"
    return None


def replay(port: Port, bursts: Sequence[Burst]) -> str | None:
    """Send bursts to a fresh node of our own; return what is wrong afterwards.

    Raises:
        CommandError: the node did not start.
    """
    outcome = Outcome(port.name, 0, sum(map(len, bursts)))
    with own_node() as target:
        return Visit(port, target, outcome).batch(bursts, time.monotonic() + SHRINK_S_MAX, 0)


def shrink(bursts: Sequence[Burst], fails: Callable[[Sequence[Burst]], bool]) -> list[Burst]:
    """Return the fewest bursts, of the fewest frames, that were found to fail; none if none does.

    Halves, quarters and so on are left out as long as the rest still fails. Bounded in trials and
    in time, so what is returned may not be the very smallest.
    """
    until_s = time.monotonic() + SHRINK_S_MAX
    trials = 0

    def still_fails(candidate: Sequence[Burst]) -> bool:
        nonlocal trials
        trials += 1
        return bool(candidate) and fails(candidate)

    def may_go_on() -> bool:
        return trials < SHRINK_TRIALS_MAX and time.monotonic() < until_s

    kept = list(bursts)
    if not still_fails(kept):
        return []
    kept = _fewest(kept, still_fails, may_go_on)
    if len(kept) == 1:
        frames = _fewest([[frame] for frame in kept[0]], lambda f: still_fails(_one(f)), may_go_on)
        kept = _one(frames)
    return kept


def _one(frames: Sequence[Burst]) -> list[Burst]:
    return [[frame for burst in frames for frame in burst]] if frames else []


def _fewest(
    kept: list[Burst],
    fails: Callable[[Sequence[Burst]], bool],
    may_go_on: Callable[[], bool],
) -> list[Burst]:
    size = len(kept) // 2
    while size >= 1 and may_go_on():
        at = 0
        while at < len(kept) and may_go_on():
            rest = kept[:at] + kept[at + size :]
            if rest and fails(rest):
                kept = rest
            else:
                at += size
        size = min(size // 2, max(1, len(kept) // 2)) if size > 1 else 0
    return kept
