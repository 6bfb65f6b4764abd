"""The clients whose members read: how each is started, which protocols it has."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.interop.members.member import Config

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True, slots=True)
class Client:
    """One library: how a member of it is started, and why it cannot be (None: it can)."""

    name: str
    command: Callable[[Config], list[str]]
    missing: Callable[[], str | None]
    protocols: tuple[str, ...]
    """What `Config.protocol` may be."""
    tells_its_assignment: bool = True
    """See `history.anomalies`."""


def _never_missing() -> str | None:
    return None


def _python(module: str) -> Callable[[Config], list[str]]:
    return lambda config: [
        sys.executable,
        "-m",
        f"tests.interop.members.{module}",
        config.to_json(),
    ]


CLIENTS = {
    client.name: client
    for client in (
        Client(
            "confluent-kafka",
            _python("with_confluent"),
            _never_missing,
            ("range", "cooperative-sticky", "consumer"),
        ),
    )
}
