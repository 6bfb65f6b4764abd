"""Settings of Kafka's brokers that change nothing on a node of ours: how their tables are read.

They are listed, typed and checked as any other, so that an administrator's tools and files work;
what each group says about them tells whether a value is taken and kept (with a line in the log),
or refused because leaving it out would change who may do what, or what is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mesh.model.setting import Kind, Setting


class UnusedGroup(NamedTuple):
    """Settings that change nothing for one and the same reason.

    `rows` has two lines or more for each: `name KIND default word…`, and what it means, indented.
    A default is `-` where nothing is set and `''` where it is empty. Words are bounds (`>=1`,
    `<=9`), choices (`in:a,b`), and
        dynamic   it may be changed while the node runs,
        per-node  and then only for one node, not for all,
        hidden    it is listed only where it is set,
        taken, refused  what becomes of a value, if it is not what `refused` says for the group.
    """

    why: str
    """A whole sentence; in it `here` is this mesh."""
    refused: bool
    """Whether any value but the default is refused."""
    rows: str


def read_groups(groups: Iterable[UnusedGroup]) -> Iterator[Setting]:
    """Give the settings of some groups."""
    for group in groups:
        head, about = "", ""
        for line in group.rows.splitlines():
            if line.startswith(" "):
                about += line[3:]
                continue
            if head:
                yield _read(head, about[1:], group)
            head, about = line, ""
        yield _read(head, about[1:], group)


def _read(head: str, about: str, group: UnusedGroup) -> Setting:
    name, kind, default, *words = head.split()
    at_least = at_most = None
    choices: tuple[str, ...] = ()
    for word in words:
        if word.startswith(">="):
            at_least = int(word[2:])
        elif word.startswith("<="):
            at_most = int(word[2:])
        elif word.startswith("in:"):
            choices = tuple(word[3:].split(","))
    return Setting(
        name=name,
        kind=Kind[kind],
        default=None if default == "-" else default.strip("'"),
        about=about,
        at_least=at_least,
        at_most=at_most,
        choices=choices,
        dynamic="dynamic" in words,
        per_node="per-node" in words,
        hidden="hidden" in words,
        unused=group.why,
        refused="refused" in words or (group.refused and "taken" not in words),
    )
