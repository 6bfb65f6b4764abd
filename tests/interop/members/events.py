"""What happens to the members of a group, each thing with the moment it happened.

Member programs print one JSON object a line, `{"event": "rows", "at_us": …, …}`; what happens to
them from outside (killed, frozen) the story notes itself. All of them run on one machine, so that
their wall clocks are one clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias


class NonsenseError(Exception):
    """A member printed a line that is no event; the text has the line."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """These partitions are the member's from now on, beside those that it had."""

    at_us: int
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Revoked:
    """The member gave these partitions up, in good order: it has done with them."""

    at_us: int
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """The member was told that these partitions may have been somebody else's for a while."""

    at_us: int
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """The member processed the rows at offsets first to last (both included)."""

    at_us: int
    partition: int
    first: int
    last: int
    crc: int
    """CRC-32 of all their values, one after the other."""


@dataclass(frozen=True, slots=True)
class Committing:
    """The member is about to commit, and has processed all below these (partition, offset)s."""

    at_us: int
    number: int
    offsets: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Committed:
    """Its commit of that number was acknowledged."""

    at_us: int
    number: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Its commit of that number was refused, or nobody answered: it may yet have been done."""

    at_us: int
    number: int
    error: str


@dataclass(frozen=True, slots=True)
class Paused:
    """The member stopped polling, or its whole process stands still."""

    at_us: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """It goes on."""

    at_us: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The member left its group and closed its client in good order."""

    at_us: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The client gave up."""

    at_us: int
    error: str


@dataclass(frozen=True, slots=True)
class Killed:
    """Its process is no more: `kill -9`."""

    at_us: int


Event: TypeAlias = (
    Assigned
    | Revoked
    | Lost
    | Rows
    | Committing
    | Committed
    | Refused
    | Paused
    | Resumed
    | Ended
    | Failed
    | Killed
)

KINDS: dict[str, type[Event]] = {
    kind.__name__.lower(): kind
    for kind in (
        Assigned,
        Revoked,
        Lost,
        Rows,
        Committing,
        Committed,
        Refused,
        Paused,
        Resumed,
        Ended,
        Failed,
    )
}


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def parse(line: bytes | str) -> Event:
    """Return the event that a member printed. Raises NonsenseError if it is none."""
    try:
        said = json.loads(line)
        kind = KINDS[said.pop("event")]
        return kind(**{name: _frozen(value) for name, value in said.items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NonsenseError(f"not an event: {line!r}") from None


def render(kind: type[Event], fields: Mapping[str, object]) -> str:
    """Return the line that a member prints."""
    return json.dumps({"event": kind.__name__.lower(), **fields}, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Observed:
    """What the broker said, to somebody who is no member, that the group has committed."""

    asked_us: int
    answered_us: int
    offsets: tuple[tuple[int, int], ...]
    """(partition, offset), without those that have none."""
