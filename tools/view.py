"""The document of `/status`, read: what commands draw. Pure; whoever sent it is not trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mesh.model.statistics import Rates, rates

FORMAT = 1


class BadStatusError(Exception):
    """What was received is no status document of a format that we know."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node of the mesh."""

    node_id: int
    state: str
    draining: bool
    address: str
    version: str
    leaders: int | None
    """This and what follows is None where only the node itself would know."""
    replicas: int | None
    in_mb_s: float | None
    out_mb_s: float | None
    append_p99_ms: float | None
    sync_p99_ms: float | None
    disk_free_bytes: int | None
    probe_ms: float | None
    suspect_left_ms: int | None
    load_percent: int | None
    disk_free_percent: int | None
    peer: str


@dataclass(frozen=True, slots=True)
class TopicView:
    """A topic on the node that answered; counters since its start."""

    name: str
    partitions: int
    log_bytes: int
    bytes_in: int
    bytes_out: int
    records_in: int


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group that a node coordinates."""

    name: str
    kind: str
    state: str
    members: int
    lag: int | None
    lag_ms: int | None
    blocked_by: str | None
    committed: int | None
    """Sum of its committed offsets; None where a node does not tell."""


@dataclass(frozen=True, slots=True)
class EventView:
    """A line of the event tape."""

    at_ms: int
    kind: str
    text: str
    count: int


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Durations of the last minute, in milliseconds; None if there were none."""

    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None


@dataclass(frozen=True, slots=True)
class Here:
    """What the node that answered knows of itself alone."""

    at_ms: int
    node_id: int
    cpu_ms: int
    resident_bytes: int
    connections: int
    requests: int
    requests_waiting: int
    bytes_in: int
    bytes_out: int
    records_in: int
    syncs: int
    recent: Rates
    append: Quantiles
    sync: Quantiles
    topics: int
    partitions: int
    log_bytes: int
    disk_bytes: int
    disk_free_bytes: int
    by_topic: tuple[TopicView, ...]
    group_count: int
    group_members: int
    groups_by_state: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class View:
    """One status document."""

    cluster_id: str
    healthy: bool
    reasons: tuple[str, ...]
    view_hash: str
    agree: bool
    """Whether all members believe the same of the mesh."""
    view_age_ms: int
    uptime_ms: int
    nodes: tuple[NodeView, ...]
    reach: tuple[tuple[bool | None, ...], ...]
    """Who reaches whom, in the order of the nodes; None: nobody knows. Empty of older nodes."""
    not_ok: tuple[tuple[str, int, str], ...]
    groups: tuple[GroupView, ...]
    """Those with the largest lag, that one first."""
    events: tuple[EventView, ...]
    here: Here


class Table:
    """A JSON object, with accessors that check what is there; all raise BadStatusError."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise BadStatusError(f"{path or 'the document'} is no object")
        self._value = value
        self._path = path

    def _get(self, name: str, *kinds: type) -> object:
        value = self._value.get(name)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise BadStatusError(f"{self._path}{name} is missing or not what it should be")
        return value

    def integer(self, name: str) -> int:
        """Return an integer."""
        value = self._get(name, int)
        assert isinstance(value, int)
        return value

    def number(self, name: str) -> float:
        """Return a number."""
        value = self._get(name, int, float)
        assert isinstance(value, int | float)
        return float(value)

    def number_or_none(self, name: str) -> float | None:
        """Return a number; None where there is none."""
        return None if self._value.get(name) is None else self.number(name)

    def integer_or_none(self, name: str) -> int | None:
        """Return an integer; None where there is none."""
        return None if self._value.get(name) is None else self.integer(name)

    def text_or_none(self, name: str) -> str | None:
        """Return a text; None where there is none."""
        return None if self._value.get(name) is None else self.text(name)

    def integers(self, name: str) -> dict[str, int]:
        """Return an object of integers; one that is not there, as of an older node, is empty."""
        if self._value.get(name) is None:
            return {}
        inside = self._get(name, Mapping)
        assert isinstance(inside, Mapping)
        table = self.table(name)
        return {printable(str(key)): table.integer(key) for key in inside}

    def flag(self, name: str) -> bool:
        """Return whether it is true."""
        return bool(self._get(name, bool))

    def text(self, name: str) -> str:
        """Return a text that does nothing to a terminal."""
        return printable(str(self._get(name, str)))

    def table(self, name: str) -> Table:
        """Return an object."""
        return Table(self._value.get(name), f"{self._path}{name}.")

    def tables(self, name: str) -> list[Table]:
        """Return an array of objects."""
        rows = self._get(name, list)
        assert isinstance(rows, list)
        return [Table(row, f"{self._path}{name}[{index}].") for index, row in enumerate(rows)]

    def rows(self, name: str) -> list[list[Any]]:
        """Return an array of arrays; one that is not there, as of an older node, is empty."""
        if self._value.get(name) is None:
            return []
        found = self._get(name, list)
        if not isinstance(found, list) or not all(isinstance(row, list) for row in found):
            raise BadStatusError(f"{self._path}{name} is no array of arrays")
        return found

    def texts(self, name: str) -> list[str]:
        """Return an array of texts that do nothing to a terminal."""
        rows = self._get(name, list)
        assert isinstance(rows, list)
        return [printable(str(row)) for row in rows]


def printable(text: str) -> str:
    """Return a text that does nothing to a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def view_untrusted(document: object) -> View:
    """Return the view that a status document holds.

    Raises:
        BadStatusError: it is none, or one of a later format.
    """
    table = Table(document, "")
    if table.integer("format") != FORMAT:
        raise BadStatusError(f"it has format {table.integer('format')}, we know {FORMAT}")
    nodes = tuple(map(_node, table.tables("nodes")))
    return View(
        cluster_id=table.text("cluster_id"),
        healthy=table.flag("healthy"),
        reasons=tuple(table.texts("reasons")),
        view_hash=table.text("view_hash"),
        agree=table.flag("agree"),
        view_age_ms=table.integer("view_age_ms"),
        uptime_ms=int(table.number("uptime_s") * 1000),
        nodes=nodes,
        reach=_reach(table, len(nodes)),
        not_ok=tuple(
            (row.text("topic"), row.integer("partition"), row.text("reason"))
            for row in table.tables("partitions_not_ok")
        ),
        groups=tuple(map(_group, table.tables("groups"))),
        events=tuple(
            EventView(
                row.integer("at_ms"), row.text("kind"), row.text("text"), row.integer("count")
            )
            for row in table.tables("events")
        ),
        here=_here(table.table("here")),
    )


def _reach(document: Table, count: int) -> tuple[tuple[bool | None, ...], ...]:
    rows = document.rows("reach")
    for row in rows:
        if len(row) != count or not all(one is None or isinstance(one, bool) for one in row):
            raise BadStatusError("reach is no matrix of the nodes")
    if rows and len(rows) != count:
        raise BadStatusError("reach is no matrix of the nodes")
    return tuple(tuple(row) for row in rows)


def _node(row: Table) -> NodeView:
    return NodeView(
        node_id=row.integer("node_id"),
        state=row.text("state"),
        draining=row.flag("draining"),
        address=row.text("address"),
        version=row.text("version"),
        leaders=row.integer_or_none("leaders"),
        replicas=row.integer_or_none("replicas"),
        in_mb_s=row.number_or_none("in_mb_s"),
        out_mb_s=row.number_or_none("out_mb_s"),
        append_p99_ms=row.number_or_none("append_p99_ms"),
        sync_p99_ms=row.number_or_none("sync_p99_ms"),
        disk_free_bytes=row.integer_or_none("disk_free_bytes"),
        probe_ms=row.number_or_none("probe_ms"),
        suspect_left_ms=row.integer_or_none("suspect_left_ms"),
        load_percent=row.integer_or_none("load_percent"),
        disk_free_percent=row.integer_or_none("disk_free_percent"),
        peer=row.text_or_none("peer") or "",
    )


def _group(row: Table) -> GroupView:
    return GroupView(
        name=row.text("group"),
        kind=row.text_or_none("type") or "",
        state=row.text("state"),
        members=row.integer("members"),
        lag=row.integer_or_none("lag"),
        lag_ms=row.integer_or_none("lag_ms"),
        blocked_by=row.text_or_none("blocked_by"),
        committed=row.integer_or_none("committed"),
    )


def _here(row: Table) -> Here:
    recent = row.table("recent")
    return Here(
        at_ms=row.integer("monotonic_ms"),
        node_id=row.integer("node_id"),
        cpu_ms=row.integer("cpu_ms"),
        resident_bytes=row.integer("resident_bytes"),
        connections=row.integer("connections"),
        requests=row.integer("requests"),
        requests_waiting=row.integer("requests_waiting"),
        bytes_in=row.integer("bytes_in"),
        bytes_out=row.integer("bytes_out"),
        records_in=row.integer("records_in"),
        syncs=row.integer("syncs"),
        recent=Rates(
            requests_s=recent.number("requests_s"),
            records_in_s=recent.number("records_in_s"),
            bytes_in_s=recent.number("bytes_in_s"),
            bytes_out_s=recent.number("bytes_out_s"),
            syncs_s=recent.number("syncs_s"),
        ),
        append=_quantiles(row.table("append")),
        sync=_quantiles(row.table("sync")),
        topics=row.integer("topic_count"),
        partitions=row.integer("partition_count"),
        log_bytes=row.integer("log_bytes"),
        disk_bytes=row.integer("disk_bytes"),
        disk_free_bytes=row.integer("disk_free_bytes"),
        by_topic=tuple(
            TopicView(
                name=topic.text("topic"),
                partitions=topic.integer("partitions"),
                log_bytes=topic.integer("log_bytes"),
                bytes_in=topic.integer("bytes_in"),
                bytes_out=topic.integer("bytes_out"),
                records_in=topic.integer("records_in"),
            )
            for topic in row.tables("topics")
        ),
        # Older nodes tell nothing of groups.
        group_count=row.integer_or_none("group_count") or 0,
        group_members=row.integer_or_none("group_members") or 0,
        groups_by_state=row.integers("groups_by_state"),
    )


def _quantiles(row: Table) -> Quantiles:
    return Quantiles(*(row.number_or_none(name) for name in ("p50_ms", "p99_ms", "p999_ms")))


@dataclass(frozen=True, slots=True)
class TopicTraffic:
    """A topic, and what it does per second."""

    topic: TopicView
    bytes_in_s: float
    bytes_out_s: float
    records_in_s: float


@dataclass(frozen=True, slots=True)
class GroupProgress:
    """A group, and how fast its committed offsets move."""

    group: GroupView
    read_s: float | None
    """None with one view, or if the offsets went back."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happened between two views."""

    rates: Rates
    cpu_percent: float | None
    """Of one core; None where there is only one view."""
    topics: tuple[TopicTraffic, ...]
    """The busiest now first; those at rest by their traffic since the start."""
    groups: tuple[GroupProgress, ...]
    """As in the view."""


def change(before: View | None, after: View) -> Change:
    """Return what happened per second; with one view only what the node itself says of it."""
    now = after.here
    # A node that started anew counts from 0 again.
    then = None if before is None or before.here.at_ms >= now.at_ms else before.here
    if then is not None and then.requests > now.requests:
        then = None
    seconds = 0.0 if then is None else (now.at_ms - then.at_ms) / 1000
    earlier = {topic.name: topic for topic in then.by_topic} if then else {}
    topics = [_traffic(earlier.get(topic.name), topic, seconds) for topic in now.by_topic]
    topics.sort(key=_busy, reverse=True)
    read_before = {} if then is None or before is None else _committed(before)
    return Change(
        rates=now.recent if then is None else rates(then, now),
        cpu_percent=None if then is None else (now.cpu_ms - then.cpu_ms) / seconds / 10,
        topics=tuple(topics),
        groups=tuple(_progress(read_before, group, seconds) for group in after.groups),
    )


def _committed(view: View) -> dict[str, int]:
    return {group.name: group.committed for group in view.groups if group.committed is not None}


def _progress(before: Mapping[str, int], group: GroupView, seconds: float) -> GroupProgress:
    was = before.get(group.name)
    if was is None or group.committed is None or group.committed < was or seconds <= 0:
        return GroupProgress(group, None)
    return GroupProgress(group, (group.committed - was) / seconds)


def _traffic(before: TopicView | None, now: TopicView, seconds: float) -> TopicTraffic:
    if before is None or seconds <= 0 or before.bytes_in > now.bytes_in:
        return TopicTraffic(now, 0.0, 0.0, 0.0)
    return TopicTraffic(
        now,
        (now.bytes_in - before.bytes_in) / seconds,
        (now.bytes_out - before.bytes_out) / seconds,
        (now.records_in - before.records_in) / seconds,
    )


def _busy(row: TopicTraffic) -> tuple[float, int, str]:
    return (
        row.bytes_in_s + row.bytes_out_s,
        row.topic.bytes_in + row.topic.bytes_out,
        row.topic.name,
    )
