"""`python -m tools.docs`: write the pages of docs/ that are made from declarations.

docs/config.md comes from `mesh/model/config.py` and the options of `mesh node`, docs/metrics.md
from `mesh/metrics/declarations.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import click

from mesh.metrics.page import page as metrics_page
from mesh.model.config import BROKER_SETTINGS, TOPIC_SETTINGS, Kind, Setting
from tools.node import node
from tools.options import variable_of

CONFIG_PAGE = Path(__file__).parents[1] / "docs" / "config.md"
METRICS_PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"

HEAD = """\
# Configuration

<!-- Made by `python -m tools.docs`; a test holds it current. -->

Names, types, defaults, bounds and error texts are Kafka 4.3's. A setting of a node is given as
`mesh node -o NAME=VALUE`, as a variable (`log.retention.ms` is `MESH_LOG_RETENTION_MS`) or in the
TOML file of `--config`, and changed with `kafka-configs` or any admin client, for one node or for
all (`--entity-default`). A setting of a topic is given when it is made or changed later. The first
place found wins:

| of a topic | of a node |
|---|---|
| set on the topic | set at runtime for this node |
| what its node has for the synonym | set at runtime for all nodes |
| the default | option, variable or file |
| | the default |

**Changed** says when a new value counts: *at runtime* without a restart, from the next request on;
*at start* with the next start of the node; *never*: the node knows it by itself.

Nothing is taken in silence. An unknown name is refused, and the nearest one named. What Kafka has
and what changes nothing here stands in the last chapters with the reason. Where leaving it out
would change who may do what, or what is kept, any value but the default is **refused**; any other
one is taken, checked, kept and shown, so that tools and files that name it work, and told with one
line in the log.
"""

COLUMNS = "| name | meaning | value | default | changed |\n|---|---|---|---|---|"

UNITS = {
    "ms": "milliseconds",
    "millis": "milliseconds",
    "bytes": "bytes",
    "hours": "hours",
    "minutes": "minutes",
    "seconds": "seconds",
    "secs": "seconds",
}
COUNTED = (Kind.INT, Kind.SHORT, Kind.LONG)


def config_page() -> str:
    """Return docs/config.md."""
    return "\n".join([HEAD, *_options(), *_topic(), *_node(), *_unused()]).rstrip() + "\n"


def _options() -> Iterator[str]:
    yield "## Options of a node that Kafka has no name for\n"
    yield "| option | variable | meaning, [default] |"
    yield "|---|---|---|"
    for option in node.params:
        if isinstance(option, click.Option) and option.name not in ("assignments", "live", "help"):
            name = option.opts[0]
            value = f" {option.metavar}" if option.metavar else ""
            told = _cell(option.help or "")
            yield f"| `{name}{_cell(value)}` | `{variable_of(name[2:])}` | {told} |"
    yield ""


def _topic() -> Iterator[str]:
    yield "## Settings of a topic\n"
    yield "All are changed at runtime. A node's setting in the last column gives the default.\n"
    yield "| name | meaning | value | default | of the node |"
    yield "|---|---|---|---|---|"
    for row in TOPIC_SETTINGS.values():
        if row.unused is None:
            yield _topic_line(row)
    yield ""
    yield "### Those that change nothing here\n"
    yield "| name | meaning | value | default | of the node | why |"
    yield "|---|---|---|---|---|---|"
    for row in TOPIC_SETTINGS.values():
        if row.unused is not None:
            only = " Any other value is **refused**." if row.refused else ""
            yield f"{_topic_line(row)} {row.unused}{only} |"
    yield ""


def _topic_line(row: Setting) -> str:
    synonyms = ", ".join(f"`{synonym.name}`" for synonym in row.synonyms)
    return f"| `{row.name}` | {row.about} | {_value(row)} | {_default(row)} | {synonyms} |"


def _node() -> Iterator[str]:
    rows = [row for row in BROKER_SETTINGS.values() if row.unused is None]
    defaults = {synonym.name for row in TOPIC_SETTINGS.values() for synonym in row.synonyms}
    yield "## Settings of a node\n"
    yield from _table(row for row in rows if not row.fact and row.name not in defaults)
    yield "### Defaults of topics\n"
    yield from _table(row for row in rows if not row.fact and row.name in defaults)
    yield "### What a node knows of itself\n"
    yield "Listed, but given by the options above.\n"
    yield from _table(row for row in rows if row.fact)


def _unused() -> Iterator[str]:
    rows = [row for row in BROKER_SETTINGS.values() if row.unused is not None]
    for refused, title in (
        (False, "Settings of Kafka's brokers that are taken and change nothing here"),
        (True, "Settings of Kafka's brokers of which only the default is taken"),
    ):
        yield f"## {title}\n"
        chosen = [row for row in rows if row.refused == refused]
        chosen.sort(key=lambda row: (row.unused or "", row.name))
        for why, group in groupby(chosen, key=lambda row: row.unused):
            yield f"**{why}**\n"
            yield from _table(group)


def _table(rows: Iterable[Setting]) -> Iterator[str]:
    yield COLUMNS
    for row in rows:
        yield f"| `{row.name}` | {row.about} | {_value(row)} | {_default(row)} | {_changed(row)} |"
    yield ""


def _value(row: Setting) -> str:
    """Say what is taken: unit, bounds and choices."""
    if row.kind is Kind.BOOLEAN:
        return "`true` or `false`"
    if row.choices:
        several = "some of " if row.kind is Kind.LIST else ""
        return several + ", ".join(f"`{choice}`" for choice in row.choices)
    words = {Kind.LIST: "list", Kind.STRING: "text", Kind.CLASS: "class", Kind.PASSWORD: "secret"}
    known = [UNITS[part] for part in row.name.split(".") if part in UNITS]
    unit = known[-1] if known and row.kind in COUNTED else words.get(row.kind, "number")
    bounds = ""
    if row.at_least is not None:
        bounds += f", at least {row.at_least:.0f}"
    if row.at_most is not None:
        bounds += f", at most {row.at_most:.0f}"
    return unit + bounds


def _default(row: Setting) -> str:
    if row.default is None:
        return "unset"
    return f"`{row.default}`" if row.default else "empty"


def _changed(row: Setting) -> str:
    if row.fact:
        return "never"
    if not row.dynamic:
        return "at start"
    if row.per_node:
        return "at runtime, for one node"
    return "at runtime, for all nodes" if row.per_mesh else "at runtime"


def _cell(text: str) -> str:
    """Return a text that does not end a table's cell."""
    return text.replace("|", "\\|")


def main() -> None:
    """Write all pages."""
    CONFIG_PAGE.write_text(config_page())
    METRICS_PAGE.write_text(metrics_page())


if __name__ == "__main__":
    main()
