"""Rows as people read them: aligned columns under a heading per kind, and sentences."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from tools.dump.rows import PROBLEM, Rows, instant

FORMAT = 1
"""Of the lines of JSON; raised when a name changes its meaning or goes."""

Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, its least width, and what stands in it."""

    title: str
    width: int
    cell: Callable[[Fields], str]
    is_right: bool = True

    def fit(self, text: str) -> str:
        """Return text in the column's width; what is longer stays whole."""
        return text.rjust(self.width) if self.is_right else text.ljust(self.width)


def _plain(name: str) -> Callable[[Fields], str]:
    def cell(fields: Fields) -> str:
        value = fields.get(name)
        if value is None:
            return "-"
        if isinstance(value, bool):
            return "yes" if value else "no"
        return str(value)

    return cell


def _number(title: str, width: int, name: str | None = None) -> Column:
    return Column(title, width, _plain(name or title))


def _text(title: str, width: int, name: str | None = None) -> Column:
    return Column(title, width, _plain(name or title), is_right=False)


def _time(title: str, name: str) -> Column:
    return Column(title, 24, lambda f: instant(cast(int, f[name])), is_right=False)


def _verdict(title: str, name: str) -> Column:
    words = {True: "ok", False: "WRONG", None: "-"}
    return Column(title, 5, lambda f: words[cast("bool | None", f.get(name))], is_right=False)


def _producer(fields: Fields) -> str:
    if fields["producer_id"] == -1:
        return "-"
    return f"{fields['producer_id']}:{fields['producer_epoch']}:{fields['base_sequence']}"


def _flags(fields: Fields) -> str:
    names = ("control", "transactional", "log_append_time", "compacted")
    found = [name.replace("_", "-") for name in names if fields[name]]
    if fields["delete_horizon_ms"] is not None:
        found.append("horizon")
    return ",".join(found) or "-"


def _topic(fields: Fields) -> str:
    return str(fields.get("topic") or fields["topic_id"])


def _voters(fields: Fields) -> str:
    voters = cast("list[str]", fields["voters"])
    return ",".join(voter.partition("@")[0] for voter in voters) or "-"


def _vote(fields: Fields) -> str:
    voted_for = cast("str | None", fields["voted_for"])
    return "-" if voted_for is None else voted_for.partition("@")[0]


def _marks(fields: Fields) -> str:
    return ",".join(name for name in ("tombstone", "unsure") if fields[name]) or "-"


def _directory(fields: Fields) -> str:
    return f"{fields['topic']}-{fields['partition']}" + ("" if fields["in_use"] else " (aside)")


def _compact(name: str) -> Callable[[Fields], str]:
    return lambda f: json.dumps(f[name], ensure_ascii=False, separators=(",", ":"))


TABLES: dict[str, tuple[Column, ...]] = {
    "batch": (
        _number("offset", 10, "base_offset"),
        _number("last", 10, "last_offset"),
        _number("records", 7),
        _number("byte", 10),
        _number("size", 8),
        _text("codec", 6),
        _number("epoch", 5, "leader_epoch"),
        _time("newest", "max_timestamp_ms"),
        Column("producer:epoch:sequence", 23, _producer, is_right=False),
        Column("flags", 5, _flags, is_right=False),
        _verdict("crc", "crc_right"),
    ),
    "index": (_number("offset", 12), _number("byte", 12, "position"), _verdict("log", "sound")),
    "timeindex": (
        _time("newest so far", "timestamp_ms"),
        _number("offset", 12),
        _verdict("log", "sound"),
    ),
    "epoch": (
        _number("epoch", 8, "leader_epoch"),
        _number("from", 12, "start_offset"),
        _number("to", 12, "end_offset"),
    ),
    "producer": (
        _number("producer", 10, "producer_id"),
        _number("epoch", 5, "producer_epoch"),
        _number("sequence", 10, "last_sequence"),
        _number("offset", 12, "last_offset"),
        _number("delta", 6, "offset_delta"),
        _time("seen", "timestamp_ms"),
        _number("transaction", 11, "transaction_first_offset"),
    ),
    "checkpoint": (_text("topic", 30), _number("partition", 9), _number("offset", 12)),
    "round": (
        _number("round", 8),
        _number("byte", 10),
        _number("size", 8),
        _text("copies", 6),
        _text("holds", 10),
        _number("promises", 8),
        _number("removed", 7),
        _text("facts", 5),
    ),
    "promise": (
        Column("topic", 24, _topic, is_right=False),
        _number("partition", 9),
        _number("epoch", 6, "leader_epoch"),
        _number("session", 7),
        Column("vote", 5, _vote),
        _number("log epoch", 9, "log_epoch"),
        Column("config", 8, lambda f: f"{f['config_epoch']}.{f['config_version']}"),
        Column("voters", 10, _voters, is_right=False),
        _number("start", 10, "log_start_offset"),
        _number("synced", 10, "synced_end"),
        Column("marks", 9, _marks, is_right=False),
    ),
    "registry": (
        _number("offset", 8),
        _text("record", 18),
        Column("applied", 8, lambda f: "yes" if f["applied"] else str(f["refused"]), False),
        Column("fields", 6, _compact("fields"), is_right=False),
    ),
    "topic": (
        _text("topic", 30),
        _text("id", 22, "topic_id"),
        _number("partitions", 10),
        Column("configs", 7, _compact("configs"), is_right=False),
    ),
    "broker_config": (_text("node", 8), Column("configs", 7, _compact("configs"), False)),
    "node_id": (_number("node id", 8, "node_id"), _text("directory id", 36, "directory_id")),
    "partition": (
        Column("partition", 36, _directory, is_right=False),
        _number("segments", 8),
        _number("bytes", 12),
        _number("start", 10, "log_start_offset"),
        _number("end", 10, "log_end_offset"),
        _number("recovered to", 12, "recovery_point"),
        _number("epoch", 5, "leader_epoch"),
        _text("id", 22, "topic_id"),
        _number("damages", 7),
    ),
}


def _record(fields: Fields) -> str:
    words = [f"  | {fields['offset']}  {instant(cast(int, fields['timestamp_ms']))}"]
    words += [f"{name} {_quoted(fields[name])}" for name in ("key", "value")]
    for header in cast("list[dict[str, object]]", fields["headers"]):
        words.append(f"{header['name']}: {_quoted(header['value'])}")
    return "  ".join(words)


def _quoted(value: object) -> str:
    return "null" if value is None else f'"{value}"'


def _problem(fields: Fields) -> str:
    place = f"byte {fields['byte']}"
    if "offset" in fields:
        place += f", offset {fields['offset']}"
    sound = f" (sound: {fields['sound']})" if fields.get("sound") else ""
    return f"!! {fields['state']}: {place}: {fields['reason']}{sound}"


def _cut(fields: Fields) -> str:
    return "" if fields["whole"] else ", not the whole"


def _damages(fields: Fields) -> str:
    return f", {fields['damages']} DAMAGED" if fields["damages"] else ""


def _log(f: Fields) -> str:
    verified = "; sums and counts looked at" if f["verified"] else ""
    return (
        f"{f['batches']} batches, {f['records']} records, offsets {f['base_offset']} to "
        f"{f['end_offset']} (exclusive), {f['bytes']} bytes{_damages(f)}{_cut(f)}{verified}"
    )


def _index_file(f: Fields) -> str:
    zeros = f", {f['zeros']} entries of zeros" if f["zeros"] else ""
    alone = "" if f["compared"] else "; no log beside it to compare with"
    return f"{f['entries']} entries, {f['bytes']} bytes{zeros}{_damages(f)}{_cut(f)}{alone}"


def _journal(f: Fields) -> str:
    return (
        f"{f['state']}: {f['rounds']} rounds up to {f['round']}, {f['promises']} promises, "
        f"{f['bytes']} bytes{_cut(f)}"
    )


def _facts(f: Fields) -> str:
    clean = "ended clean" if f["clean"] else "runs, or did not end clean"
    return (
        f"directory {f['directory_id']}, durability {f['durability']}, {clean}, boot {f['boot_id']}"
    )


def _data_directory(f: Fields) -> str:
    end = "ended clean" if f["clean"] else "a node runs, or did not end clean"
    aside = f", {f['set_aside']} set aside or being deleted" if f["set_aside"] else ""
    journal = "" if f["journal"] else ", no promise journal"
    return (
        f"{f['partitions']} partitions, {f['bytes']} bytes of log{aside}{journal}; {end}{_cut(f)}"
    )


def _meta(f: Fields) -> str:
    return (
        f"node {f['node_id']}, directory {f['directory_id']}, cluster {f['cluster_id']}, "
        f"format {f['directory_format']}, written by {f['version']}"
    )


SENTENCES: dict[str, Callable[[Fields], str]] = {
    PROBLEM: _problem,
    "record": _record,
    "log": _log,
    "index_file": _index_file,
    "timeindex_file": _index_file,
    "journal": _journal,
    "facts": _facts,
    "meta": _meta,
    "data_directory": _data_directory,
    "partition_metadata": lambda f: f"topic id {f['topic_id']} ({f['topic_id_hex']})",
    "clean": lambda _: "the last shutdown was clean",
}


def lines(rows: Rows) -> Iterator[str]:
    """Yield the lines for people: a heading per file, and one per table in it."""
    place: object = None
    headed: set[str] = set()
    is_first = True
    for row in rows:
        found = row.fields.get("file")
        if found is not None and found != place:
            if not is_first:
                yield ""
            yield str(found)
            place, headed = found, set()
        is_first = False
        if (sentence := SENTENCES.get(row.kind)) is not None:
            yield sentence(row.fields)
            continue
        columns = TABLES[row.kind]
        if row.kind not in headed:
            headed.add(row.kind)
            if found is None and place is not None:
                yield ""
                place = None
            yield _line(columns, [column.title for column in columns])
        yield _line(columns, [column.cell(row.fields) for column in columns])


def _line(columns: tuple[Column, ...], cells: list[str]) -> str:
    pairs = zip(columns, cells, strict=True)
    return "  ".join(column.fit(cell) for column, cell in pairs).rstrip()


def json_lines(rows: Rows) -> Iterator[str]:
    """Yield one JSON object per row; `format` and `kind` are always there."""
    for row in rows:
        document = {"format": FORMAT, "kind": row.kind, **row.fields}
        yield json.dumps(document, ensure_ascii=True, separators=(",", ":"))
