"""The table of cases and of declared differences, filled by the files of `apis/`.

A case is a function `(talk) -> None` whose docstring states what is asked. It runs once for every
version of its API, against each broker; what it asks by `talk.ask` is compared.
"""

from __future__ import annotations

import fnmatch
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeAlias

from mesh.wire import Message
from tests.interop.differential import apis
from tests.interop.differential.compare import Value, differing, transcript
from tests.interop.differential.talk import Talk
from tests.interop.node import NODE_COUNT

CaseFunction: TypeAlias = Callable[[Talk], None]
ANY: Final = "…"
TALKS_AT_ONCE: Final = 8
FEW_VERSIONS: Final = 5


@dataclass(frozen=True, slots=True)
class Case:
    """One question, or a few that belong together."""

    api: str
    name: str
    versions: range
    flexible_from: int
    place: int
    """Its number among the cases of its API."""
    ask: CaseFunction

    @property
    def some_versions(self) -> list[int]:
        """The versions of the short form: first, last, first flexible, and every third.

        Each case begins with another third, so that an API's cases together take every version.
        """
        if len(self.versions) <= FEW_VERSIONS:
            return list(self.versions)
        chosen = {version for version in self.versions if version % 3 == self.place % 3}
        chosen |= {self.flexible_from} & {*self.versions}
        return sorted(chosen | {self.versions[0], self.versions[-1]})

    @property
    def sentence(self) -> str:
        """What is asked, in one line."""
        return " ".join((self.ask.__doc__ or "").split()).rstrip(".")


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference that we know and want, or cannot help, and why."""

    api: str
    path: str
    """Of the field, `*` for any part."""
    kafka: Value
    ours: Value
    reason: str
    cases: str = "*"
    """Names of the cases it shows in, `*` for any part."""
    versions: range | None = None
    among_three: bool = False
    """Whether it shows only where three nodes of ours stand."""

    def concerns(self, one: Case, version: int) -> bool:
        """Whether it may show itself in this case at this version."""
        return (
            self.api == one.api
            and (not self.among_three or NODE_COUNT > 1)
            and fnmatch.fnmatchcase(one.name, self.cases)
            and (self.versions is None or version in self.versions)
        )

    def explains(self, seen: Observed) -> bool:
        """Whether an observed difference is this one."""
        return (
            self.concerns(seen.case, seen.version)
            and fnmatch.fnmatchcase(seen.path, self.path)
            and self.kafka in (ANY, seen.kafka)
            and self.ours in (ANY, seen.ours)
        )


@dataclass(frozen=True, slots=True)
class Observed:
    """A difference that a run found."""

    case: Case
    version: int
    step: str
    path: str
    kafka: Value
    ours: Value

    def __str__(self) -> str:
        return (
            f"{self.case.api} v{self.version} {self.case.name} [{self.step}] {self.path}: "
            f"Kafka says {self.kafka!r}, we say {self.ours!r}"
        )


CASES: Final[dict[str, Case]] = {}
DIFFERENCES: Final[list[Difference]] = []
SURPRISES: Final[list[tuple[str, str]]] = []


def case(
    request: type[Message], *, versions: tuple[int, int] | None = None
) -> Callable[[CaseFunction], CaseFunction]:
    """Put a function into the table; versions are all of the API's unless given (inclusive)."""
    first, last = versions or request.VERSIONS

    def enter(ask: CaseFunction) -> CaseFunction:
        api = request.__name__.removesuffix("Request")
        name = ask.__name__.replace("_", "-")
        assert name not in CASES, f"two cases are called {name}"
        flexible = request.FLEXIBLE_FROM
        place = sum(one.api == api for one in CASES.values())
        CASES[name] = Case(api, name, range(first, last + 1), flexible, place, ask)
        return ask

    return enter


def differs(
    request: type[Message],
    path: str,
    *,
    kafka: Value,
    ours: Value,
    reason: str,
    cases: str = "*",
    versions: tuple[int, int] | None = None,
    among_three: bool = False,
) -> None:
    """Declare a difference of one API."""
    api = request.__name__.removesuffix("Request")
    span = None if versions is None else range(versions[0], versions[1] + 1)
    DIFFERENCES.append(Difference(api, path, kafka, ours, reason, cases, span, among_three))


def surprise(request: type[Message], text: str) -> None:
    """Note something that the JVM broker does and its documentation does not say."""
    SURPRISES.append((request.__name__.removesuffix("Request"), " ".join(text.split())))


def load() -> None:
    """Fill the tables from every file of `apis/`, once."""
    for module in pkgutil.iter_modules(apis.__path__):
        importlib.import_module(f"{apis.__name__}.{module.name}")


def listen(one: Case, version: int, port: int) -> Talk:
    """Put a case at one version to the broker of a port."""
    talk = Talk(port, one.name, version)
    try:
        one.ask(talk)
    finally:
        talk.end()
    return talk


def run(one: Case, versions: Sequence[int], kafka_port: int, our_port: int) -> Iterator[Observed]:
    """Put a case at these versions to both brokers; give what differs.

    The versions share nothing, so they are asked side by side: most of the time goes into waiting
    for Kafka to create topics.

    Raises:
        SetupError: a broker did not do what the case needs first.
    """
    with ThreadPoolExecutor(TALKS_AT_ONCE) as pool:
        pairs = [
            [pool.submit(listen, one, version, port) for port in (kafka_port, our_port)]
            for version in versions
        ]
    for version, (theirs, mine) in zip(versions, pairs, strict=True):
        yield from _compare(one, version, theirs.result(), mine.result())


def _compare(one: Case, version: int, theirs: Talk, mine: Talk) -> Iterator[Observed]:
    kafka, ours = transcript(theirs), transcript(mine)
    if len(kafka) != len(ours):
        yield Observed(one, version, "", "steps", len(kafka), len(ours))
    for (label, answer), (_, our_answer) in zip(kafka, ours, strict=False):
        for path, said, we_said in differing(answer, our_answer):
            yield Observed(one, version, label, path, said, we_said)
