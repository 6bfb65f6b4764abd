"""Scenarios that people write: a TOML file says how large the mesh is, and what befalls it when.

Whatever is wrong with a file is told with its line and, for a word that is not known, the nearest
one that is. docs/simulate.md has the keys; `simulations/scripts/` has examples.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

from mesh.gossip import PROFILES
from simulations.net import Link
from simulations.swarm import CLASSES

FILE_BYTES_MAX = 64 << 10
LINES_MAX = 5_000
NODES_MIN, NODES_MAX = 2, 1_000
SECONDS_MAX = 3_600
FAULTS_MAX = 500
ABOUT_LENGTH_MAX = 200
RACKS_MAX = 100


class ScenarioError(ValueError):
    """A file is no scenario; the text is for people, and names the line if there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that befalls the mesh."""

    kind: str
    at_s: float
    for_s: float | None = None
    """None: it lasts until the end."""
    nodes: tuple[int, ...] = ()
    rack: int | None = None
    """All of this rack, instead of `nodes`."""
    count: int = 0
    """So many that the seed draws, instead of `nodes`; for a join: so many new ones."""
    bridge: tuple[int, ...] = ()
    """Of a split: who reaches both sides."""
    to: tuple[int, ...] = ()
    """Of a bad link: its other ends; none: everybody."""
    loss: float = 0.5
    still_ms: int = 1_000
    free_ms: int = 100
    rate: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A scenario as its file says it."""

    name: str
    about: str
    nodes: int
    seconds: int
    profile: str = "lan"
    racks: int = 0
    """Node n is in rack n modulo so many; 0: there are none."""
    random: tuple[str, ...] = ()
    """Classes of faults that the seed draws besides."""
    link: Link = field(default_factory=Link)
    faults: tuple[Fault, ...] = ()


class _Kind(NamedTuple):
    """Which keys a fault of this kind takes, besides `at` and `kind`."""

    must: frozenset[str]
    may: frozenset[str] = frozenset()
    picks: bool = True
    """Whether it says whom it befalls: with `nodes`, `rack` or `count`."""


def _kind(must: str = "", may: str = "", *, picks: bool = True) -> _Kind:
    return _Kind(frozenset(must.split()), frozenset(may.split()), picks)


KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "crash": _kind(may="for"),
        "restart": _kind(),
        "pause": _kind("for"),
        "leave": _kind(),
        "join": _kind("count", picks=False),
        "split": _kind(may="for bridge"),
        "deaf": _kind(may="for"),
        "mute": _kind(may="for"),
        "bad-link": _kind(may="for to loss"),
        "blocked": _kind(may="for still-ms free-ms"),
        "starved": _kind(may="for still-ms free-ms"),
        "clock": _kind("rate"),
    }
)
"""By the word for it. A crash that has an end is a restart; deaf hears nobody, mute is heard by
nobody; blocked cannot talk and starved cannot run, again and again."""

_TOP = frozenset(["about", "nodes", "seconds", "profile", "racks", "random", "link", "fault"])
_LINK = frozenset(["delay-ms", "tail-ms", "loss", "duplicate", "reorder", "reorder-ms", "reset"])
_PICKS = frozenset({"nodes", "rack", "count"})
_FAULT = (
    frozenset({"kind", "at", *_PICKS})
    | frozenset().union(*(kind.must | kind.may for kind in KINDS.values()))
)  # fmt: skip


def read_script(path: Path) -> Script:
    """Return the scenario that a file says.

    Raises:
        ScenarioError: it cannot be read, is not TOML, or says what makes no sense.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ScenarioError(f"the scenario {path} cannot be read: {error.strerror}") from error
    if len(data) > FILE_BYTES_MAX:
        raise ScenarioError(f"the scenario {path} is longer than {FILE_BYTES_MAX} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ScenarioError(f"the scenario {path} is no text in UTF-8: {error}") from error
    return parse_script(text, str(path), path.stem)


def parse_script(text: str, source: str, name: str) -> Script:
    """Return the scenario that a text says.

    Args:
        text: TOML.
        source: what errors call it.
        name: of the scenario.

    Raises:
        ScenarioError: it is not TOML, or says what makes no sense.
    """
    if text.count("\n") > LINES_MAX:
        raise ScenarioError(f"the scenario {source} has more than {LINES_MAX} lines")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # Numbers too long, brackets too deep.
        raise ScenarioError(f"the scenario {source} is not TOML: {error}") from error
    return _Reader(text, source).script(document, name)


class _Reader:
    """Reads one document, and says where something stands that is wrong."""

    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source

    def wrong(self, path: tuple[str | int, ...], text: str) -> NoReturn:
        line = line_of(self._text, path)
        where = f"{self._source}, line {line}" if line else self._source
        raise ScenarioError(f"{where}: {text}")

    # Values

    def known(
        self, table: Mapping[str, Any], path: tuple[str | int, ...], keys: frozenset[str], what: str
    ) -> None:
        for key in table:
            if key not in keys:
                self.wrong((*path, key), _unknown(f"the key {key}", key, keys, what))

    def word(self, value: object, path: tuple[str | int, ...], words: frozenset[str]) -> str:
        if not isinstance(value, str) or value not in words:
            self.wrong(path, _unknown(f"{path[-1]} {value!r}", str(value), words, "this"))
        return value

    def number(self, value: object, path: tuple[str | int, ...], low: float, high: float) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.wrong(path, f"{path[-1]} is {value!r}, and must be a number")
        if not low <= value <= high:
            self.wrong(path, f"{path[-1]} is {value}; it may be from {low:g} to {high:g}")
        return float(value)

    def whole(self, value: object, path: tuple[str | int, ...], low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(path, f"{path[-1]} is {value!r}, and must be a whole number")
        return int(self.number(value, path, low, high))

    def ids(self, value: object, path: tuple[str | int, ...], nodes: int) -> tuple[int, ...]:
        if not isinstance(value, list) or not value:
            self.wrong(path, f"{path[-1]} is {value!r}, and must be a list of node ids, as [1, 2]")
        found = []
        for one in value:
            if isinstance(one, bool) or not isinstance(one, int) or not 1 <= one <= nodes:
                text = f"{path[-1]} names node {one!r}, and there are nodes 1 to {nodes}"
                self.wrong(path, text)
            if one in found:
                self.wrong(path, f"{path[-1]} names node {one} twice")
            found.append(one)
        return tuple(found)

    # The parts

    def script(self, document: Mapping[str, Any], name: str) -> Script:
        self.known(document, (), _TOP, "a scenario")
        for key in ("nodes", "seconds"):
            if key not in document:
                self.wrong((), f"a scenario says {key}, and this one does not")
        about = document.get("about", "")
        if not isinstance(about, str) or len(about) > ABOUT_LENGTH_MAX or not about.isprintable():
            self.wrong(("about",), f"about is one line of at most {ABOUT_LENGTH_MAX} characters")
        nodes = self.whole(document["nodes"], ("nodes",), NODES_MIN, NODES_MAX)
        seconds = self.whole(document["seconds"], ("seconds",), 1, SECONDS_MAX)
        racks = self.whole(document.get("racks", 0), ("racks",), 0, RACKS_MAX)
        if racks > nodes:
            self.wrong(("racks",), f"{racks} racks for {nodes} nodes would leave some empty")
        profile = document.get("profile", "lan")
        classes = document.get("random", [])
        if not isinstance(classes, list):
            self.wrong(("random",), "random is a list of classes of faults")
        faults = document.get("fault", [])
        if not isinstance(faults, list) or len(faults) > FAULTS_MAX:
            self.wrong(("fault",), f"faults are written as [[fault]], at most {FAULTS_MAX} of them")
        return Script(
            name=name,
            about=about,
            nodes=nodes,
            seconds=seconds,
            profile=self.word(profile, ("profile",), frozenset(PROFILES)),
            racks=racks,
            random=tuple(self.word(one, ("random",), frozenset(CLASSES)) for one in classes),
            link=self.link(document.get("link", {})),
            faults=tuple(
                self.fault(fault, ("fault", index), nodes, racks, seconds)
                for index, fault in enumerate(faults)
            ),
        )

    def link(self, table: object) -> Link:
        if not isinstance(table, dict):
            self.wrong(("link",), "link is a table: [link]")
        self.known(table, ("link",), _LINK, "a link")
        low, high = self.range_ms(table.get("delay-ms", [0.2, 1.0]), ("link", "delay-ms"))

        def share(key: str) -> float:
            return self.number(table.get(key, 0.0), ("link", key), 0, 1)

        tail_ms = self.number(table.get("tail-ms", 0), ("link", "tail-ms"), 0, 10_000)
        reorder_ms = self.number(table.get("reorder-ms", 20), ("link", "reorder-ms"), 0, 10_000)
        return Link(
            delay_us=(int(low * 1000), int(high * 1000)),
            tail_us=int(tail_ms * 1000),
            loss=share("loss"),
            duplicate=share("duplicate"),
            reorder=share("reorder"),
            reorder_us=int(reorder_ms * 1000),
            reset=share("reset"),
        )

    def range_ms(self, value: object, path: tuple[str | int, ...]) -> tuple[float, float]:
        if not isinstance(value, list) or len(value) != 2:
            self.wrong(path, f"{path[-1]} is {value!r}, and must be [least, most]")
        low, high = (self.number(one, path, 0, 10_000) for one in value)
        if low > high:
            self.wrong(path, f"{path[-1]} begins at {low:g} and ends before it, at {high:g}")
        return low, high

    def fault(
        self, table: object, path: tuple[str | int, ...], nodes: int, racks: int, seconds: int
    ) -> Fault:
        if not isinstance(table, dict):
            self.wrong(path, "a fault is a table: [[fault]]")
        self.known(table, path, _FAULT, "a fault")
        for key in ("kind", "at"):
            if key not in table:
                self.wrong(path, f"a fault says {key}, and this one does not")
        kind = self.word(table["kind"], (*path, "kind"), frozenset(KINDS))
        takes = KINDS[kind]
        allowed = takes.must | takes.may | (_PICKS if takes.picks else frozenset()) | {"kind", "at"}
        for key in table:
            if key not in allowed:
                self.wrong((*path, key), f"a {kind} takes no {key}")
        for key in sorted(takes.must - table.keys()):
            self.wrong(path, f"a {kind} says {key}, and this one does not")
        at_s = self.number(table["at"], (*path, "at"), 0, seconds)
        for_s = None
        if "for" in table:
            for_s = self.number(table["for"], (*path, "for"), 0.001, SECONDS_MAX)
            if at_s + for_s > seconds:
                text = f"a {kind} at {at_s:g} s for {for_s:g} s outlasts the {seconds} s of the run"
                self.wrong((*path, "for"), text)
        whom: dict[str, Any] = self.whom(table, path, kind, nodes, racks)
        for key, low, high in (("loss", 0, 1), ("rate", 0.5, 2)):
            if key in table:
                whom[key] = self.number(table[key], (*path, key), low, high)
        for key in ("still-ms", "free-ms"):
            if key in table:
                whom[key.replace("-", "_")] = self.whole(table[key], (*path, key), 1, 60_000)
        if "to" in table:
            whom["to"] = self.ids(table["to"], (*path, "to"), nodes)
        return Fault(kind=kind, at_s=at_s, for_s=for_s, **whom)

    def whom(
        self, table: dict[str, Any], path: tuple[str | int, ...], kind: str, nodes: int, racks: int
    ) -> dict[str, Any]:
        """Return whom it befalls, held against what there is."""
        said = [key for key in ("nodes", "rack", "count") if key in table]
        if KINDS[kind].picks and len(said) != 1:
            both = " and ".join(said) or "neither"
            self.wrong(path, f"a {kind} says nodes, rack or count, one of them; this one {both}")
        found: dict[str, Any] = {}
        if "nodes" in table:
            found["nodes"] = self.ids(table["nodes"], (*path, "nodes"), nodes)
        if "count" in table:
            count_max = NODES_MAX if kind == "join" else nodes
            found["count"] = self.whole(table["count"], (*path, "count"), 1, count_max)
        if "rack" in table:
            if not racks:
                self.wrong((*path, "rack"), "it names a rack, and this scenario has no racks")
            found["rack"] = self.whole(table["rack"], (*path, "rack"), 0, racks - 1)
        if "bridge" in table:
            found["bridge"] = self.ids(table["bridge"], (*path, "bridge"), nodes)
            for one in found["bridge"]:
                if one in found.get("nodes", ()) or one % max(1, racks) == found.get("rack"):
                    text = f"node {one} is a bridge, so it cannot be on one side of the split"
                    self.wrong((*path, "bridge"), text)
        if kind == "split":
            side = len(found.get("nodes", ())) or found.get("count", 0)
            if side + len(found.get("bridge", ())) >= nodes:
                self.wrong(path, f"a split of {side} from none: nobody is left on the other side")
        return found


def _unknown(what: str, word: str, words: frozenset[str], where: str) -> str:
    near = get_close_matches(word, sorted(words), n=1, cutoff=0.5)
    if near:
        return f"{what} is not known; did you mean {near[0]}?"
    return f"{what} is not known; {where} takes {', '.join(sorted(words))}"


def line_of(text: str, path: tuple[str | int, ...]) -> int | None:
    """Return the line on which a place of a TOML document begins, from 1; None for the whole.

    Found without a parser of our own: of the beginnings of the text that are TOML, the first that
    holds the place ends where it does.
    """
    lines = text.splitlines(keepends=True)
    begins = 1
    for count in range(1, len(lines) + 1):
        try:
            document: Any = tomllib.loads("".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue  # In the middle of a value that spans lines.
        if _holds(document, path):
            return begins if path else None
        begins = count + 1
    return None


def _holds(document: Any, path: tuple[str | int, ...]) -> bool:
    for step in path:
        if isinstance(step, int):
            if not isinstance(document, list) or step >= len(document):
                return False
        elif not isinstance(document, dict) or step not in document:
            return False
        document = document[step]
    return True
