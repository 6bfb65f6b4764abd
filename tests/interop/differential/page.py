"""docs/compatibility.md, made from the tables of cases, differences and surprises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mesh.broker.handlers import HANDLERS
from mesh.wire import API_NAMES
from tests.interop.differential.cases import CASES, DIFFERENCES, SURPRISES, Difference, load

PATH = Path(__file__).parents[3] / "docs" / "compatibility.md"

HEAD = """\
# Compatibility with Kafka

<!-- Made by `python -m tests.interop.differential write`; a test holds it current. -->

The measure is Apache Kafka's own broker, release 4.3.1, started from its published jars as a
single node with its default settings. The same decoded requests, right and wrong ones, go to it
and to a node of ours; the answers are compared field by field
(`tests/interop/differential`; `python -m tests.interop.differential say 'produce-*'` prints what
Kafka answers, `ours` prints what differs). A difference that is not in this page fails the tests,
and so does one in this page that no longer shows itself.

What is not compared: the value of ids (topic, cluster, producer, session), though equal ids must
stay equal within a case; wall clock times, though it is compared which time is meant; ports; the
wording of error texts, though it is compared whether there is one; the order of lists that have a
key. Record batches are compared byte by byte.

With GOSSAMER_NODES=3 the same is asked of one of three nodes. What then names nodes is made alike,
and nothing else: each of the others counts as the one that is asked where it leads, holds or
coordinates something, a list of replicas names it once, and lists of all nodes leave it out. The
topics and groups that a case only uses lie at the node that is asked; those that it makes itself
lie wherever they come to lie.

Two things differ that depend on the moment, so that no case has them. A record that was
acknowledged with acks=1 or acks=0 can be read once the next sync has it, a few milliseconds later
(with `--durability memory` at once); Kafka's single node lets it be read at once. And because
acks=all waits for that sync, a produce timeout of zero is REQUEST_TIMED_OUT, with the records kept;
Kafka's single node never waits.
"""


def render() -> str:
    """Return the whole page."""
    load()
    sections = [HEAD, *_served(), *_differences(), *_surprises(), *_questions()]
    return "\n".join(sections).rstrip() + "\n"


def _served() -> Iterator[str]:
    yield "## What is served\n"
    yield "| key | API | versions | advertised | cases |"
    yield "|---|---|---|---|---|"
    for key, handler in sorted(HANDLERS.items()):
        first, last = handler.versions
        told = first if handler.advertised_min is None else handler.advertised_min
        count = sum(one.api == API_NAMES[key] for one in CASES.values())
        yield f"| {key} | {API_NAMES[key]} | {first}–{last} | {told}–{last} | {count} |"
    yield ""


def _differences() -> Iterator[str]:
    yield "## Where the answers differ, and why\n"
    yield "Fields, then what Kafka says → what we say. `*` stands for any part of a name, … for"
    yield "what depends on the question; what only one of the two sends is absent in the other.\n"
    yield "| API, case | field: Kafka 4.3.1 → Gossamer | why |"
    yield "|---|---|---|"
    # Rows for one reason stand in one line, and fields that differ alike stand together.
    lines: dict[tuple[str, str], dict[str, list[str]]] = {}
    for row in DIFFERENCES:
        what = row.api if row.cases == "*" else f"{row.api} `{row.cases}`"
        what += ", three nodes" if row.among_three else ""
        fields = lines.setdefault((what, row.reason), {})
        fields.setdefault(f"{_shown(row.kafka)} → {_shown(row.ours)}", []).append(_field(row))
    for (what, reason), fields in lines.items():
        text = "; ".join(f"{', '.join(paths)}: {pair}" for pair, paths in fields.items())
        yield f"| {what} | {text} | {reason} |"
    yield ""


def _field(row: Difference) -> str:
    return f"`{row.path}`" + (f" ({_span(row.versions)})" if row.versions is not None else "")


def _span(versions: range) -> str:
    first, last = versions[0], versions[-1]
    return f"v{first}" if first == last else f"v{first}–{last}"


def _shown(value: object) -> str:
    if value == "":
        return "an empty text"
    return value if isinstance(value, str) else f"`{value}`"


def _surprises() -> Iterator[str]:
    yield "## What Kafka does that its documentation does not say\n"
    yield "Found by asking; we answer alike unless the table above has it.\n"
    for api, text in SURPRISES:
        yield f"- **{api}.** {text}"
    yield ""


def _questions() -> Iterator[str]:
    yield "## What is asked\n"
    yield "Every case runs for every version named; `make test` takes a sample of the versions."
    for api in dict.fromkeys(one.api for one in CASES.values()):
        yield f"\n### {api}\n"
        for one in CASES.values():
            if one.api == api:
                yield f"- `{one.name}` ({_span(one.versions)}): {one.sentence}."
