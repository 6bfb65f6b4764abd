"""Whether what many clients were told of one topic's name fits one total order.

A small check of linearizability. The name stands for nothing or for one topic id; a creation that
was granted takes it from nothing to an id never seen before, a deletion from an id to nothing, and
everything else only looks. Each happened at one instant between its call and its return.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mesh.model.types import TopicId


class Kind(enum.Enum):
    """What an answer says of the name."""

    CREATED = "created"
    DELETED = "deleted"
    EXISTS = "exists"
    """A creation was refused; which topic exists was not said."""
    SEEN = "seen"
    """There is a topic of this id."""
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Told:
    """One call of one client, and what it was told."""

    kind: Kind
    called_at: int
    returned_at: int
    topic_id: TopicId | None = None


NEVER = 1 << 63


@dataclass(slots=True)
class Life:
    """What the calls that name a topic say of when it was there."""

    client: int
    place: int
    """Where its creation stands."""
    there_by: int = NEVER
    """First return of a call that names it: it was made before."""
    there_at: int = 0
    """Last call that names it: it was not gone before; NEVER if nobody deleted it."""


Configuration: TypeAlias = "tuple[tuple[int, ...], TopicId | None]"
"""How many calls of each client have happened, and what the name stands for then."""


LOOKS_MAX = 300_000
"""Configurations that a history is given: most take a few thousand, some would take for ever."""


class UndecidedError(Exception):
    """A history would take too long to be decided on; another one will not."""


def fits_one_order(clients: Sequence[Sequence[Told]]) -> bool:
    """Return whether there is an order of all calls that explains all answers.

    Args:
        clients: of each client its calls, one after the other.

    Raises:
        UndecidedError: it is not found out in LOOKS_MAX steps.
    """
    lives = _lives(clients)
    begin: Configuration = (tuple(0 for _ in clients), None)
    waiting, known = [begin], {begin}
    while waiting:
        if len(known) > LOOKS_MAX:
            raise UndecidedError
        places, held = waiting.pop()
        places = _look(clients, places, held)
        following = _callable(clients, places)
        if not following:
            return True
        for number, told in following:
            if told.kind is Kind.CREATED and held is None:
                if not _may_be_next(lives, places, told.topic_id):
                    continue
                after = told.topic_id
            elif told.kind is Kind.DELETED and held == told.topic_id:
                after = None
            else:
                continue
            reached = (_advanced(places, number), after)
            if reached not in known:
                known.add(reached)
                waiting.append(reached)
    return False


def _lives(clients: Sequence[Sequence[Told]]) -> dict[TopicId | None, Life]:
    """Return each topic that was made."""
    lives: dict[TopicId | None, Life] = {
        told.topic_id: Life(client, place)
        for client, calls in enumerate(clients)
        for place, told in enumerate(calls)
        if told.kind is Kind.CREATED
    }
    naming = [told for calls in clients for told in calls if told.topic_id in lives]
    for told in naming:
        life = lives[told.topic_id]
        life.there_by = min(life.there_by, told.returned_at)
        life.there_at = max(life.there_at, told.called_at)
    deleted = {told.topic_id for told in naming if told.kind is Kind.DELETED}
    for topic_id in lives.keys() - deleted:
        lives[topic_id].there_at = NEVER
    return lives


def _may_be_next(
    lives: dict[TopicId | None, Life], places: tuple[int, ...], topic_id: TopicId | None
) -> bool:
    """Say whether this topic can be gone before any other that is not made yet must be there.

    Without that the search would try every order of the creations that are under way at a time.
    """
    chosen = lives[topic_id]
    return all(
        chosen.there_at <= other.there_by
        for other in lives.values()
        if other is not chosen and places[other.client] <= other.place
    )


def _look(
    clients: Sequence[Sequence[Told]], places: tuple[int, ...], held: TopicId | None
) -> tuple[int, ...]:
    """Let every call that only looks, and fits, happen now: later would explain no more."""
    while True:
        fitting = [number for number, told in _callable(clients, places) if _sees(told, held)]
        if not fitting:
            return places
        for number in fitting:
            places = _advanced(places, number)


def _sees(told: Told, held: TopicId | None) -> bool:
    match told.kind:
        case Kind.EXISTS:
            return held is not None
        case Kind.SEEN:
            return held == told.topic_id
        case Kind.ABSENT:
            return held is None
        case _:
            return False


def _callable(clients: Sequence[Sequence[Told]], places: tuple[int, ...]) -> list[tuple[int, Told]]:
    """Return the calls that can be next: none that is left returned before they were made."""
    left = [
        (number, calls[place])
        for number, (calls, place) in enumerate(zip(clients, places, strict=True))
        if place < len(calls)
    ]
    if not left:
        return []
    first_return = min(told.returned_at for _, told in left)
    return [(number, told) for number, told in left if told.called_at <= first_return]


def _advanced(places: tuple[int, ...], number: int) -> tuple[int, ...]:
    return (*places[:number], places[number] + 1, *places[number + 1 :])
