"""A frozen picture of one node at one instant: drawn by commands, never read by a machine."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Counters since the start, which only rise, and gauges, which are of now.

    Rates are the reader's business: the difference of two snapshots over their `at_ms`.
    """

    at_ms: int
    """Monotonic instant of this snapshot."""
    uptime_ms: int
    # Gauges.
    connections: int
    """Client connections that are open."""
    requests_waiting: int
    """Fetches and produces that wait for bytes or for their commit."""
    in_flight_bytes: int
    """Bytes of request frames that are reserved from the memory budget."""
    topics: int
    """Topics that clients can see."""
    partitions: int
    log_bytes: int
    """Bytes of all logs of this node."""
    disk_free_bytes: int
    """Bytes that this process may still write in the data directory's file system."""
    # Counters.
    connections_accepted: int
    connections_failed: int
    """Connections that were closed because of what their peer sent."""
    requests: int
    bytes_in: int
    """Bytes of request frames, length prefix included."""
    bytes_out: int
    records_in: int
    """Records that were appended for producers."""
    syncs: int
    """Rounds of fdatasync, each of all partitions that had something to sync."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What happened per second between two snapshots of one node."""

    requests_s: float
    records_in_s: float
    bytes_in_s: float
    bytes_out_s: float
    syncs_s: float


def rates(before: Statistics, after: Statistics) -> Rates:
    """Return what happened per second between the two; all zero if no time has passed."""
    seconds = (after.at_ms - before.at_ms) / 1000
    if seconds <= 0:
        return Rates(0.0, 0.0, 0.0, 0.0, 0.0)
    return Rates(
        requests_s=(after.requests - before.requests) / seconds,
        records_in_s=(after.records_in - before.records_in) / seconds,
        bytes_in_s=(after.bytes_in - before.bytes_in) / seconds,
        bytes_out_s=(after.bytes_out - before.bytes_out) / seconds,
        syncs_s=(after.syncs - before.syncs) / seconds,
    )
