"""Every metric, declared once: its name, kind, unit, labels and meaning, and where it is read.

`docs/metrics.md` is made from this table. Names follow Prometheus: base units, counters that end
in `_total`. Nothing is told by partition, by group or by client, so a node has at most some 8,000
series: 7 for each of at most 1,000 topics, and a few hundred others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mesh.model.histogram import Latency
from mesh.model.statistics import Statistics, TopicStatistics

Kind: TypeAlias = Literal["counter", "gauge", "histogram", "info"]
Value: TypeAlias = "float | Latency"
Samples: TypeAlias = "Iterable[tuple[tuple[str, ...], Value]]"
"""Values of the labels, and the value."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of docs/metrics.md."""

    name: str
    """As it is scraped, but for `_bucket`, `_sum` and `_count` of a histogram."""
    kind: Kind
    unit: str
    meaning: str
    read: Callable[[Statistics], Samples]
    labels: tuple[str, ...] = ()


def _one(read: Callable[[Statistics], Value]) -> Callable[[Statistics], Samples]:
    return lambda now: (((), read(now)),)


def _by_topic(read: Callable[[TopicStatistics], float]) -> Callable[[Statistics], Samples]:
    return lambda now: (((topic.name,), read(topic)) for topic in now.by_topic)


def _counter(name: str, unit: str, meaning: str, read: Callable[[Statistics], Value]) -> Metric:
    return Metric(name, "counter", unit, meaning, _one(read))


def _gauge(name: str, unit: str, meaning: str, read: Callable[[Statistics], Value]) -> Metric:
    return Metric(name, "gauge", unit, meaning, _one(read))


def _of_topic(
    name: str, kind: Kind, unit: str, meaning: str, read: Callable[[TopicStatistics], float]
) -> Metric:
    return Metric(name, kind, unit, meaning, _by_topic(read), ("topic",))


def _node(now: Statistics) -> Samples:
    node = now.node
    values = (node.cluster_id, str(node.node_id), node.directory_id)
    yield (*values, node.address, node.host, node.rack or "", node.version), 1


def _members(now: Statistics) -> Samples:
    states = Counter(member.state for member in now.view.members) if now.view else Counter()
    return (((state,), states[state]) for state in ("alive", "suspect", "dead", "left"))


def _probe_seconds(now: Statistics) -> Samples:
    members = now.view.members if now.view else ()
    times = sorted(member.probe_ms for member in members if member.probe_ms is not None)
    if times:
        for share in (0.5, 0.99, 1.0):
            place = min(len(times) - 1, int(share * len(times)))
            yield (f"{share:g}",), times[place] / 1000


def _both_ways(name: str) -> Callable[[Statistics], Samples]:
    def read(now: Statistics) -> Samples:
        counters = now.view.counters if now.view else {}
        return (((way,), counters.get(f"{name}_{way}", 0)) for way in ("in", "out"))

    return read


def _refused(now: Statistics) -> Samples:
    """By reason: `refused_…` of the peer port, `malformed: …` and `refused: …` of gossip."""
    counts: Counter[str] = Counter()
    for name, count in (now.view.counters if now.view else {}).items():
        kind, _, reason = name.partition(": ")
        if kind == "malformed":
            counts["malformed"] += count
        elif kind == "refused":
            counts[reason.replace(" ", "_")] += count
        elif name.startswith("refused_") and name != "refused_by_peers":
            counts[name.removeprefix("refused_")] += count
    return (((reason,), count) for reason, count in sorted(counts.items()))


GOSSIP_EVENTS = (
    "calls_put_off",
    "datagrams_blocked",
    "datagrams_dropped",
    "dead_given_up",
    "deaf_probes",
    "joins_refused",
    "lone_suspicions",
    "maps_outbid",
    "members_refused",
    "pauses",
    "refused_by_peers",
    "refusals_untold",
    "refutations",
    "returns",
    "streams_broken",
    "streams_refused",
)


def _gossip_events(now: Statistics) -> Samples:
    counters = now.view.counters if now.view else {}
    return (((name,), counters.get(name, 0)) for name in GOSSIP_EVENTS)


METRICS: tuple[Metric, ...] = (
    Metric(
        "mesh_node_info",
        "info",
        "",
        "Who this node is; always 1.",
        _node,
        ("cluster_id", "node_id", "directory_id", "address", "host", "rack", "version"),
    ),
    _gauge(
        "mesh_uptime_seconds", "seconds", "Since the node began.", lambda now: now.uptime_ms / 1000
    ),
    _gauge(
        "mesh_healthy",
        "0 or 1",
        "Whether /healthz answers 200; `mesh status` tells the reasons if not.",
        lambda now: now.healthy,
    ),
    _gauge(
        "mesh_draining",
        "0 or 1",
        "Whether the node is stopping and takes nothing new.",
        lambda now: now.draining,
    ),
    # Requests
    Metric(
        "mesh_requests_total",
        "counter",
        "requests",
        "Requests by Kafka's name of the API and by version, answered or not.",
        lambda now: (
            ((api.name, str(version)), count)
            for api in now.apis
            for version, count in api.versions.items()
        ),
        ("api", "version"),
    ),
    _counter(
        "mesh_requests_refused_total",
        "requests",
        "Requests of an API or version that is not served.",
        lambda now: now.requests_refused,
    ),
    Metric(
        "mesh_request_seconds",
        "histogram",
        "seconds",
        "From when the node took a request up to when its answer had left. It includes what was "
        "waited for: the sync of a produce with acks=all, the records of a fetch.",
        lambda now: (((api.name,), api.latency) for api in now.apis),
        ("api",),
    ),
    Metric(
        "mesh_errors_total",
        "counter",
        "errors",
        "Error codes in answers, by Kafka's name; one answer may hold many.",
        lambda now: (((name,), count) for name, count in now.errors.items()),
        ("error",),
    ),
    _gauge(
        "mesh_requests_waiting",
        "requests",
        "Requests whose answer is due: fetches that wait for records, produces for their commit.",
        lambda now: now.requests_waiting,
    ),
    _gauge(
        "mesh_request_memory_bytes",
        "bytes",
        "Memory reserved for frames that are arriving (queued.max.request.bytes bounds it).",
        lambda now: now.in_flight_bytes,
    ),
    _gauge(
        "mesh_unsent_bytes",
        "bytes",
        "Answers that clients have not taken yet.",
        lambda now: now.unsent_bytes,
    ),
    # Connections and bytes
    _gauge("mesh_connections", "connections", "Open now.", lambda now: now.connections),
    _counter(
        "mesh_connections_accepted_total",
        "connections",
        "Taken from clients.",
        lambda now: now.connections_accepted,
    ),
    _counter(
        "mesh_connections_failed_total",
        "connections",
        "Closed because of what the client sent or did not take; the log has the causes.",
        lambda now: now.connections_failed,
    ),
    _counter(
        "mesh_received_bytes_total",
        "bytes",
        "Request frames from clients.",
        lambda now: now.bytes_in,
    ),
    _counter("mesh_sent_bytes_total", "bytes", "Answers to clients.", lambda now: now.bytes_out),
    # Log and disk
    _counter(
        "mesh_records_appended_total",
        "records",
        "Appended for producers and for the registry.",
        lambda now: now.records_in,
    ),
    Metric(
        "mesh_append_seconds",
        "histogram",
        "seconds",
        "Handling requests that arrived together, if they appended: checks, checksum, append to "
        "the page cache. It grows when the kernel holds writers up.",
        _one(lambda now: now.append),
    ),
    Metric(
        "mesh_sync_seconds",
        "histogram",
        "seconds",
        "One round of fdatasync, of all partitions with appends since the last.",
        _one(lambda now: now.sync),
    ),
    _counter(
        "mesh_sync_rounds_total",
        "rounds",
        "Rounds of fdatasync, those included that only write a checkpoint.",
        lambda now: now.syncs,
    ),
    _counter(
        "mesh_journal_rounds_total",
        "rounds",
        "Rounds of promises of partition groups, written to the journal with one sync each.",
        lambda now: now.journal_rounds,
    ),
    _counter(
        "mesh_compactions_total",
        "runs",
        "Runs that compacted a log, whole or as far as its keys fitted.",
        lambda now: now.compactions,
    ),
    _counter(
        "mesh_compaction_failures_total",
        "runs",
        "Those of them that ended with an error, which the events and the node's log tell.",
        lambda now: now.compaction_failures,
    ),
    _counter(
        "mesh_compaction_seconds_total",
        "seconds",
        "Time that their steps took in a thread, pauses included.",
        lambda now: now.compaction_ms / 1000,
    ),
    _counter(
        "mesh_compaction_read_bytes_total",
        "bytes",
        "Bytes of log that they read: what is new twice, what was compacted before once.",
        lambda now: now.compaction_bytes_in,
    ),
    _counter(
        "mesh_compaction_written_bytes_total",
        "bytes",
        "Bytes of log that they wrote.",
        lambda now: now.compaction_bytes_out,
    ),
    _counter(
        "mesh_elections_total",
        "elections",
        "Leaderships of partitions that began here.",
        lambda now: now.elections,
    ),
    _gauge(
        "mesh_partitions_unsynced",
        "partitions",
        "Partitions with appends that wait for the next round.",
        lambda now: now.partitions_unsynced,
    ),
    _gauge("mesh_log_bytes", "bytes", "All logs of topics.", lambda now: now.log_bytes),
    _gauge(
        "mesh_disk_bytes",
        "bytes",
        "Size of the file system of the data directory.",
        lambda now: now.disk_bytes,
    ),
    _gauge(
        "mesh_disk_free_bytes",
        "bytes",
        "What may still be written there.",
        lambda now: now.disk_free_bytes,
    ),
    # What it holds
    _gauge("mesh_topics", "topics", "Topics that clients can see.", lambda now: now.topics),
    _gauge(
        "mesh_topics_left_out",
        "topics",
        "Topics without series of their own: beyond 1,000 those with the least traffic have none.",
        lambda now: now.topics - len(now.by_topic),
    ),
    Metric(
        "mesh_partitions",
        "gauge",
        "partitions",
        "Partitions that this node holds, by what it is for them.",
        lambda now: (((state,), count) for state, count in now.partitions_by_state.items()),
        ("state",),
    ),
    _gauge(
        "mesh_producer_ids",
        "producers",
        "Idempotent producers that partitions remember, once for each partition.",
        lambda now: now.producer_ids,
    ),
    Metric(
        "mesh_registry_entries",
        "gauge",
        "entries",
        "Committed entries of the registry, by kind.",
        lambda now: (((kind,), count) for kind, count in now.registry_entries.items()),
        ("kind",),
    ),
    # Groups that it coordinates
    Metric(
        "mesh_groups",
        "gauge",
        "groups",
        "Groups that this node coordinates, by Kafka's name of their state.",
        lambda now: (((state,), count) for state, count in now.groups_by_state.items()),
        ("state",),
    ),
    _gauge(
        "mesh_group_members", "members", "Members of these groups.", lambda now: now.group_members
    ),
    _counter(
        "mesh_offset_commits_total",
        "offsets",
        "Offsets committed by groups, one for each partition of a request.",
        lambda now: now.offset_commits,
    ),
    _counter(
        "mesh_group_rebalances_total",
        "rebalances",
        "Generations of classic groups that came to be; groups by KIP-848 move without one.",
        lambda now: now.rebalances,
    ),
    # The mesh, as this node sees it, and its peer port
    Metric(
        "mesh_members",
        "gauge",
        "members",
        "Members that this node knows, by the state that it believes.",
        _members,
        ("state",),
    ),
    _gauge(
        "mesh_view_agrees",
        "0 or 1",
        "Whether others tell the hash of this node's view. News makes it 0 for less than a second.",
        lambda now: now.view is None or now.view.agree,
    ),
    _gauge(
        "mesh_local_health",
        "steps",
        "Lifeguard's local health: 0 is well, up to 8; so much longer this node waits for others.",
        lambda now: now.view.local_health if now.view else 0,
    ),
    Metric(
        "mesh_probe_seconds",
        "gauge",
        "seconds",
        "Smoothed round trips of this node's direct probes: quantiles over members.",
        _probe_seconds,
        ("quantile",),
    ),
    Metric(
        "mesh_peer_datagrams_total",
        "counter",
        "datagrams",
        "At the peer port, good or not.",
        _both_ways("datagrams"),
        ("direction",),
    ),
    Metric(
        "mesh_peer_bytes_total",
        "counter",
        "bytes",
        "Payload of those datagrams.",
        _both_ways("bytes"),
        ("direction",),
    ),
    Metric(
        "mesh_peer_calls_total",
        "counter",
        "calls",
        "Questions on streams: asked here (in), or by this node (out).",
        _both_ways("calls"),
        ("direction",),
    ),
    Metric(
        "mesh_peer_refused_total",
        "counter",
        "messages",
        "Datagrams and streams that were not listened to, by reason: malformed, flood, frame, host "
        "(cut off for bad streams); with a key unsealed, forged, unknown_key, replayed, old.",
        _refused,
        ("reason",),
    ),
    Metric(
        "mesh_gossip_events_total",
        "counter",
        "events",
        "What membership met: refutations of its own, pauses of its process, probes that only "
        "streams got through (datagrams_blocked), suspicions that nobody confirmed.",
        _gossip_events,
        ("event",),
    ),
    # By topic
    _of_topic(
        "mesh_topic_received_bytes_total",
        "counter",
        "bytes",
        "Batches that producers appended.",
        lambda topic: topic.bytes_in,
    ),
    _of_topic(
        "mesh_topic_sent_bytes_total",
        "counter",
        "bytes",
        "Batches sent to consumers.",
        lambda topic: topic.bytes_out,
    ),
    _of_topic(
        "mesh_topic_records_appended_total",
        "counter",
        "records",
        "Records that producers appended.",
        lambda topic: topic.records_in,
    ),
    _of_topic(
        "mesh_topic_batches_appended_total",
        "counter",
        "batches",
        "Batches that producers appended: one for each partition in a produce request.",
        lambda topic: topic.batches_in,
    ),
    _of_topic(
        "mesh_topic_fetches_total",
        "counter",
        "fetches",
        "Partitions that fetches were answered from with records.",
        lambda topic: topic.fetches,
    ),
    _of_topic(
        "mesh_topic_log_bytes", "gauge", "bytes", "Its logs here.", lambda topic: topic.log_bytes
    ),
    _of_topic(
        "mesh_topic_partitions",
        "gauge",
        "partitions",
        "Its partitions here.",
        lambda topic: topic.partitions,
    ),
    # The process, under the names that every exporter gives these
    _counter(
        "process_cpu_seconds_total",
        "seconds",
        "User and system time of the node's process.",
        lambda now: now.cpu_ms / 1000,
    ),
    _gauge(
        "process_resident_memory_bytes",
        "bytes",
        "Resident memory of the node's process.",
        lambda now: now.resident_bytes,
    ),
)
