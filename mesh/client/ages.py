"""When the first record that a group has not read was written: a lag in time. trio."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import trio

from mesh.client.assignment import LATEST, Assignment, AtOffset
from mesh.client.client import Client
from mesh.client.reader import reader
from mesh.client.settings import ClientError, ReaderSettings
from mesh.model.errors import KafkaError
from mesh.model.types import TopicPartition
from storage.types import Offset, TimestampMs

LOOK_S_MAX = 5.0
"""For all partitions together; what is not known by then stays unknown."""
LOOKS_AT_ONCE_MAX = 8
"""Partitions that are read one by one at a time, each over a connection of its own."""
ONE_BATCH = ReaderSettings(
    partition_bytes_max=64 << 10,
    fetch_bytes_max=4 << 20,
    buffer_bytes_max=4 << 20,
    reset="nearest",
    stuck_ms_max=4_000,
)
"""A first batch comes whole, however large; of what follows it we want little."""


async def first_timestamps(
    client: Client, places: Mapping[TopicPartition, Offset]
) -> dict[TopicPartition, TimestampMs]:
    """Return the timestamp of the first record at or after an offset of each partition.

    Partitions are left out in which there is none, or that did not answer within LOOK_S_MAX.
    """
    found: dict[TopicPartition, TimestampMs] = {}
    with trio.move_on_after(LOOK_S_MAX):
        await _look(client, places, found)
        # Compaction may have taken the record: then the next one that is kept counts.
        left = [place for place in sorted(places) if place not in found]
        limiter = trio.CapacityLimiter(LOOKS_AT_ONCE_MAX)
        async with trio.open_nursery() as nursery:
            for place in left:
                nursery.start_soon(partial(_look_on, client, place, places[place], found, limiter))
    return found


async def _look(
    client: Client,
    places: Mapping[TopicPartition, Offset],
    found: dict[TopicPartition, TimestampMs],
) -> None:
    """Ask for exactly these records, of all partitions of a leader in one Fetch."""
    assignments = [
        Assignment(place, AtOffset(offset), (AtOffset(offset + 1), LATEST))
        for place, offset in places.items()
    ]
    try:
        async with reader(client, assignments, ONE_BATCH) as source:
            while (chunk := await source.next_chunk()) is not None:
                if chunk.records:
                    found.setdefault(chunk.partition, chunk.records[0].timestamp_ms)
    except (KafkaError, ClientError):
        pass  # One partition that fails ends this; the others are asked for by themselves.


async def _look_on(
    client: Client,
    place: TopicPartition,
    offset: Offset,
    found: dict[TopicPartition, TimestampMs],
    limiter: trio.CapacityLimiter,
) -> None:
    """Ask for the first record from here on that is there."""
    assignment = Assignment(place, AtOffset(offset), (LATEST,))
    async with limiter:
        try:
            async with reader(client, [assignment], ONE_BATCH) as source:
                while (chunk := await source.next_chunk()) is not None:
                    if chunk.records:
                        found[place] = chunk.records[0].timestamp_ms
                        return
        except (KafkaError, ClientError):
            pass  # It stays unknown.
