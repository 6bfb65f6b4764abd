"""Telling a story from its name: the topic, its rows, the members' settings."""

from __future__ import annotations

from collections.abc import Sequence

from tests.interop.flights.producer import Flight, create_topic
from tests.interop.flights.rows import Row
from tests.interop.members.brokers import SESSION_MS
from tests.interop.members.clients import CLIENTS
from tests.interop.members.member import Config
from tests.interop.members.stories import STORIES
from tests.interop.members.story import Broker, Outcome, story


def tell(
    running: Broker,
    name: str,
    client_name: str,
    protocol: str,
    rows: Sequence[Row],
    turn_ms: int = 60,
) -> Outcome:
    """Produce the rows to a topic of their own, and tell a story over them.

    Raises:
        StoryError: it does not come to its end.
    """
    word = f"{name}-{client_name}-{protocol}"
    create_topic(running.bootstrap, word)
    flight = Flight(running.bootstrap, word, rows)
    flight.produce()
    config = Config(
        bootstrap=running.bootstrap,
        topic=word,
        group=word,
        name="",
        protocol=protocol,
        session_ms=SESSION_MS,
        turn_ms=turn_ms,
    )
    with story(running, flight.ledger, CLIENTS[client_name], config) as told:
        return STORIES[name](told)
