"""A frozen picture of one node at one instant: drawn by commands, never read by a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mesh.model.histogram import Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What of a node does not change while it runs."""

    cluster_id: str
    node_id: int
    directory_id: str
    address: str
    """Where clients are told to connect, as `host:port`."""
    host: str
    rack: str | None
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, for the tape."""

    at_ms: int
    """Wall clock; of the last time, if it happened more than once."""
    kind: str
    """One of a few words, as `topic_created`."""
    text: str
    """What it was about, printable and bounded."""
    count: int = 1
    """How often it happened, one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiStatistics:
    """Requests of one API since the start."""

    name: str
    """Kafka's name, as `Produce`."""
    versions: Mapping[int, int]
    """Version → requests."""
    latency: Latency
    """From the arrival of a request to its answer; those without an answer are not in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicStatistics:
    """One topic on this node; the counters are since the start of node or topic."""

    name: str
    partitions: int
    log_bytes: int
    bytes_in: int
    bytes_out: int
    records_in: int
    batches_in: int
    """Batches that producers appended: one for each partition in a produce request."""
    fetches: int
    """Partitions that fetches were answered from with records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStatistics:
    """One group that this node coordinates."""

    group: str
    kind: str
    """`classic` or `consumer`, as Kafka calls them."""
    state: str
    """Kafka's word, as `Stable`."""
    members: int
    lag: int | None
    """Records from its committed offsets up to the high watermarks, over those of its partitions
    that this node leads; None if it committed none of them."""
    lag_ms: int | None
    """Age of the oldest record that waits, to within its batch; None where nobody looked, or where
    that would have taken a disk."""
    blocked_by: str | None
    """What keeps it from reading, in a sentence with its evidence; None if nothing is known to."""
    committed: int = 0
    """Sum of the committed offsets that count in `lag`: two pictures make a rate."""


GROUPS_MAX = 20
"""Groups that a picture tells of one by one: those with the largest lag."""


class Counted(Protocol):
    """What rates are made of."""

    @property
    def at_ms(self) -> int:
        """Monotonic instant."""

    @property
    def requests(self) -> int:
        """Requests so far."""

    @property
    def records_in(self) -> int:
        """Records appended so far."""

    @property
    def bytes_in(self) -> int:
        """Bytes received so far."""

    @property
    def bytes_out(self) -> int:
        """Bytes sent so far."""

    @property
    def syncs(self) -> int:
        """Sync rounds so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFacts:
    """One member of the mesh as the node that tells believes it to be."""

    node_id: int
    state: str
    """`alive`, `suspect`, `dead` or `left`."""
    draining: bool
    address: str
    """Where clients connect, `host:port`; empty while it serves none."""
    peer: str
    admin: str
    rack: str | None
    host: str
    weight: int
    version: str
    probe_ms: float | None
    """Round trip of the newest probes, smoothed; None where none was answered."""
    suspect_left_ms: int | None
    """Until it is found dead if nothing else comes; None unless it is suspect."""
    unreached: tuple[int, ...]
    """Members that its own probes do not reach, by what it says itself."""
    load_percent: int | None
    disk_free_percent: int | None
    append_p99_ms: int | None
    sync_p99_ms: int | None
    """Rounded up to powers of two."""
    start: int = 0
    """How often it was started."""
    incarnation: int = 0
    """How often it had to say that it is alive, since it was started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveFacts:
    """A replica that is being copied to another node by the leader of its partition."""

    topic: str
    partition: int
    to: int
    bytes_total: int
    bytes_left: int
    """About: by the share of offsets."""
    eta_ms: int | None
    """At the speed so far; None while that is not known."""


@dataclass(frozen=True, slots=True)
class MemberEvent:
    """Something that was believed, or told, of one member."""

    at_ms: int
    """Monotonic, of the node that tells."""
    kind: str
    """`joined`, `suspect`, `accused`, `cleared`, `refuted`, `dead`, `back`, `left`, `moved`,
    `draining`, `reach` or `expelled`."""
    text: str
    """A sentence without its subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewFacts:
    """What a node believes of the mesh."""

    members: tuple[MemberFacts, ...]
    """By id, the node itself included."""
    view_hash: str
    """The same wherever the same is believed."""
    agree: bool
    """Whether somebody told this hash since it last changed here, and nobody another one."""
    age_ms: int
    """Since it changed."""
    local_health: int
    """0 is well; a node whose own probes fail waits longer before it blames others."""
    counters: Mapping[str, int]
    """What came and went at the peer port, since the start."""
    history: Mapping[int, tuple[MemberEvent, ...]] = field(default_factory=dict)
    """The newest events of each member, the oldest first; bounded."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What happened per second between two snapshots of one node."""

    requests_s: float
    records_in_s: float
    bytes_in_s: float
    bytes_out_s: float
    syncs_s: float


def rates(before: Counted, after: Counted) -> Rates:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Counters since the start, which only rise, and gauges, which are of now."""

    node: NodeFacts
    at_ms: int
    """Monotonic instant of this snapshot."""
    wall_ms: int
    """The same instant on the wall clock."""
    uptime_ms: int
    draining: bool
    """Whether the node is stopping: it answers what it has and takes nothing new."""
    reasons: tuple[str, ...]
    """Why the node is not healthy, each a sentence; none if it is."""
    # Gauges.
    connections: int
    """Client connections that are open."""
    requests_waiting: int
    """Fetches and produces that wait for bytes or for their commit."""
    unsent_bytes: int
    """Bytes of answers that clients have not taken yet."""
    in_flight_bytes: int
    """Bytes of request frames that are reserved from the memory budget."""
    topics: int
    """Topics that clients can see."""
    partitions: int
    partitions_by_state: Mapping[str, int]
    """How many partitions this node leads, follows, or knows no leader of; each is there, if 0."""
    partitions_not_ok: tuple[tuple[str, int, str], ...]
    """Topic, partition and reason of those that clients cannot use now; bounded."""
    partitions_unsynced: int
    """Partitions with appends that wait for the next sync round."""
    producer_ids: int
    """Idempotent producers that partitions remember, once for each partition."""
    registry_entries: Mapping[str, int]
    """Committed entries of the registry by kind."""
    log_bytes: int
    """Bytes of all logs of this node."""
    disk_bytes: int
    """Size of the data directory's file system."""
    disk_free_bytes: int
    """Bytes that this process may still write in the data directory's file system."""
    resident_bytes: int
    """Memory of this process."""
    # Counters.
    cpu_ms: int
    """User and system time of this process."""
    connections_accepted: int
    connections_failed: int
    """Connections that were closed because of what their peer sent."""
    requests: int
    requests_refused: int
    """Requests of an API or a version that is not served."""
    bytes_in: int
    """Bytes of request frames, length prefix included."""
    bytes_out: int
    records_in: int
    """Records that were appended for producers."""
    syncs: int
    """Rounds of fdatasync, each of all partitions that had something to sync."""
    elections: int
    """Leaderships that began here."""
    journal_rounds: int
    """Rounds of promises that were written to the journal."""
    compactions: int = 0
    """Runs that compacted a log, whole or as far as its keys fitted."""
    compaction_failures: int = 0
    """Those of them that ended with an error; the events tell which."""
    compaction_ms: int = 0
    """Time that their steps took, in a thread, pauses included."""
    compaction_bytes_in: int = 0
    compaction_bytes_out: int = 0
    errors: Mapping[str, int]
    """Kafka's name of an error → how often it stood in an answer."""
    # Detail.
    recent: Rates
    """Of the last ten seconds."""
    append: Latency
    """Handling the requests of one receive, if they appended: checks, append to the page cache."""
    sync: Latency
    """One round of fdatasync."""
    apis: tuple[ApiStatistics, ...]
    """APIs that were asked for, by key."""
    by_topic: tuple[TopicStatistics, ...]
    """The topics with the most traffic since the start, sorted by name; bounded."""
    events: tuple[Event, ...]
    """The newest ones, the oldest of them first."""
    # Groups that this node coordinates.
    groups: tuple[GroupStatistics, ...] = ()
    """The GROUPS_MAX with the largest lag, that one first."""
    groups_by_state: Mapping[str, int] = field(default_factory=dict)
    """Kafka's word for a state → how many groups are in it; those without any may be left out."""
    group_members: int = 0
    """Members of all groups."""
    offset_commits: int = 0
    """Offsets that were committed, one for each partition of a request, since the start."""
    rebalances: int = 0
    """Generations of classic groups that came to be since the start."""
    moves: tuple[MoveFacts, ...] = ()
    """Copies that partitions led here make for other nodes."""
    held_by: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Of other nodes: partitions that they lead, and hold, as their leaders told this one."""
    view: ViewFacts | None = None
    """None: this node was told nothing of a mesh."""

    @property
    def healthy(self) -> bool:
        """Whether nothing speaks against sending clients here."""
        return not self.reasons
