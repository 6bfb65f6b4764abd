"""Latencies of millions of requests in a small dictionary, and what two brokers' rounds say."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

GROWTH = 1.02
"""Each bucket is 2 % wider than the one before: a percentile is within 2 % of the true one."""
_LOG_GROWTH = math.log(GROWTH)


@dataclass(slots=True)
class Histogram:
    """Counts of durations in buckets of equal relative width."""

    counts: dict[int, int] = field(default_factory=dict)

    def add_all(self, durations_ns: Iterable[int]) -> None:
        """Count durations of at least 1 ns."""
        counts = self.counts
        for duration_ns in durations_ns:
            bucket = int(math.log(max(1, duration_ns)) / _LOG_GROWTH)
            counts[bucket] = counts.get(bucket, 0) + 1

    def merge(self, other: "Histogram") -> None:
        """Add the other's counts to ours."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def percentile_ms(self, percent: float) -> float:
        """Return the upper bound of the bucket that holds the percentile; 0 without durations."""
        wanted = math.ceil(sum(self.counts.values()) * percent / 100)
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return math.exp((bucket + 1) * _LOG_GROWTH) / 1e6
        return 0.0


@dataclass(slots=True)
class Round:
    """What all connections together did in one round, and what it cost the broker."""

    requests: int
    batch_bytes: int
    """Bytes of record batches that were produced or fetched, headers of batches included."""
    seconds: float
    broker_cpu_s: float | None
    """User and system time of the broker's process; None if it is not on this machine."""
    rss_mb: float | None
    latencies: Histogram
    generator_cpu_s: float = 0.0
    """Our own, of all connections: near `seconds` for each of them, and we measure ourselves."""

    @property
    def req_s(self) -> float:
        """Requests that were answered, per second."""
        return self.requests / self.seconds

    @property
    def mb_s(self) -> float:
        """Millions of bytes of batches per second."""
        return self.batch_bytes / 1e6 / self.seconds


def summary(rounds: Sequence[Round]) -> dict[str, float | None]:
    """Return the figures of one broker at one point; all rounds weigh by what they did."""
    requests = sum(r.requests for r in rounds)
    batch_bytes = sum(r.batch_bytes for r in rounds)
    seconds = sum(r.seconds for r in rounds)
    costs = [r.broker_cpu_s for r in rounds if r.broker_cpu_s is not None]
    sizes = [r.rss_mb for r in rounds if r.rss_mb is not None]
    cpu_s = sum(costs) if len(costs) == len(rounds) else None
    latencies = Histogram()
    for one in rounds:
        latencies.merge(one.latencies)
    return {
        "req_s": requests / seconds,
        "mb_s": batch_bytes / 1e6 / seconds,
        "p50_ms": latencies.percentile_ms(50),
        "p99_ms": latencies.percentile_ms(99),
        "p999_ms": latencies.percentile_ms(99.9),
        "cpu_us_per_req": cpu_s * 1e6 / requests if cpu_s is not None and requests else None,
        "cpu_s_per_gb": cpu_s * 1e9 / batch_bytes if cpu_s is not None and batch_bytes else None,
        "rss_mb": max(sizes) if sizes else None,
        "load_cpu_share": sum(r.generator_cpu_s for r in rounds) / seconds,
    }


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Return how many times ours is theirs: of the sums, and the extremes of paired rounds."""
    pairs = [a / b for a, b in zip(ours, theirs, strict=True) if b]
    if not pairs:
        return {}
    return {
        "ratio": sum(ours) / sum(theirs),
        "ratio_min": min(pairs),
        "ratio_max": max(pairs),
    }
