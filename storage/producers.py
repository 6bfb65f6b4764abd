"""What a log knows of idempotent producers: five batches each (docs/protocol.md G17, G18).

A batch that is already there is answered with its first offset instead of being written twice.
All of it can be rebuilt from batch headers; snapshots only save the walk.
"""

from __future__ import annotations

import struct
from collections.abc import ItemsView
from struct import Struct
from typing import NamedTuple

from crc32c import crc32c

from storage.errors import InvalidProducerEpoch, OutOfOrderSequence
from storage.records import CONTROL, BatchHeader
from storage.types import Offset, TimestampMs

BATCHES_KEPT = 5
"""As many requests as an idempotent producer may have in flight (Kafka)."""

PRODUCERS_MAX = 100_000
"""Producers remembered per log; beyond it the tenth whose newest batch is oldest is forgotten."""

NO_PRODUCER_EPOCH = -1
"""No client sends it with an id; Kafka then asks for no order, and we do as it does."""

SEQUENCES = 1 << 31
"""Sequence numbers wrap from 2**31 - 1 to 0."""

UNKNOWN_MS = -1
"""When a producer was last seen, if only the log tells of it: its expiry starts anew."""

SNAPSHOT_SUFFIX = ".snapshot"
_SNAPSHOT_HEADER = Struct(">hIi")
_SNAPSHOT_VERSION = 1
# producer_id, epoch, last sequence, last offset, offset delta, timestamp, coordinator epoch,
# first offset of the open transaction.
_SNAPSHOT_ENTRY = Struct(">qhiqiqiq")
_COUNT = Struct(">i")


class Appended(NamedTuple):
    """One batch of a producer, as far as a duplicate can be told by it."""

    base_sequence: int
    last_sequence: int
    base_offset: Offset
    last_offset: Offset
    timestamp_ms: TimestampMs
    """Its largest; of a producer's newest in a snapshot, when it arrived."""


class Producer:
    """One producer id's state in one log."""

    __slots__ = ("batches", "last_seen_ms", "next_sequence", "producer_epoch")

    def __init__(self, producer_epoch: int) -> None:
        self.producer_epoch = producer_epoch
        self.batches: list[Appended] = []
        """Oldest first; at least one, once something was appended."""
        self.next_sequence = 0
        self.last_seen_ms: TimestampMs = UNKNOWN_MS


class SnapshotEntry(NamedTuple):
    """One entry of a snapshot file, field by field (Kafka's)."""

    producer_id: int
    producer_epoch: int
    last_sequence: int
    last_offset: Offset
    offset_delta: int
    """`last_offset` less the batch's first offset."""
    timestamp_ms: TimestampMs
    coordinator_epoch: int
    transaction_first_offset: Offset
    """-1 for none."""


def read_snapshot(data: bytes) -> list[SnapshotEntry] | None:
    """Return the entries of a snapshot, None if it is not one or its checksum differs."""
    try:
        version, crc, count = _SNAPSHOT_HEADER.unpack_from(data)
    except struct.error:
        return None
    body = memoryview(data)[_SNAPSHOT_HEADER.size :]
    if version != _SNAPSHOT_VERSION or crc32c(memoryview(data)[6:]) != crc:
        return None
    if count * _SNAPSHOT_ENTRY.size != len(body):
        return None
    return [SnapshotEntry._make(entry) for entry in _SNAPSHOT_ENTRY.iter_unpack(body)]


class Producers:
    """All idempotent producers of one log."""

    __slots__ = ("_states",)

    def __init__(self) -> None:
        self._states: dict[int, Producer] = {}

    def __len__(self) -> int:
        return len(self._states)

    def __getitem__(self, producer_id: int) -> Producer:
        return self._states[producer_id]

    def items(self) -> ItemsView[int, Producer]:
        """Return all producers with their ids; look at them before anything is appended."""
        return self._states.items()

    def __contains__(self, producer_id: int) -> bool:
        return producer_id in self._states

    def check(self, header: BatchHeader) -> Appended | None:
        """Return None if the batch is to be appended, its original if it is a duplicate.

        Raises:
            OutOfOrderSequence: it leaves a gap, is older than the last five, or begins a new
                epoch with another sequence than 0.
            InvalidProducerEpoch: a newer epoch of this producer id has been here.
        """
        state = self._states.get(header.producer_id)
        if state is None or header.attributes & CONTROL:
            return None  # A producer that we do not know may start anywhere (KIP-360).
        sequence = header.base_sequence
        if header.producer_epoch == state.producer_epoch:
            if sequence == state.next_sequence:
                return None
            last = (sequence + header.last_offset_delta) % SEQUENCES
            for batch in state.batches:
                if batch.base_sequence == sequence and batch.last_sequence == last:
                    return batch
            if header.producer_epoch == NO_PRODUCER_EPOCH:
                return None
            raise OutOfOrderSequence(
                f"producer {header.producer_id} sent sequence {sequence}, "
                f"expected is {state.next_sequence}"
            )
        if header.producer_epoch < state.producer_epoch:
            raise InvalidProducerEpoch(
                f"producer {header.producer_id} has epoch {header.producer_epoch}, "
                f"the newest is {state.producer_epoch}"
            )
        if sequence != 0 and state.producer_epoch != NO_PRODUCER_EPOCH:
            raise OutOfOrderSequence(
                f"producer {header.producer_id} begins epoch {header.producer_epoch} "
                f"with sequence {sequence}, not 0"
            )
        return None

    def appended(self, header: BatchHeader, base_offset: Offset, wall_ms: TimestampMs) -> None:
        """Remember a batch of an idempotent producer that now stands at `base_offset`."""
        state = self._states.get(header.producer_id)
        if header.attributes & CONTROL:
            return  # Markers carry no sequence.
        if state is None:
            if len(self._states) >= PRODUCERS_MAX:
                self._make_room()
            state = self._states[header.producer_id] = Producer(header.producer_epoch)
        elif header.producer_epoch != state.producer_epoch:
            state.producer_epoch = header.producer_epoch
            state.batches.clear()
        delta, first = header.last_offset_delta, header.base_sequence
        last = (first + delta) % SEQUENCES
        state.batches.append(
            Appended(first, last, base_offset, base_offset + delta, header.max_timestamp)
        )
        if len(state.batches) > BATCHES_KEPT:
            del state.batches[0]
        state.next_sequence = (last + 1) % SEQUENCES
        state.last_seen_ms = wall_ms

    def _make_room(self) -> None:
        # By offset, not by time: what was rebuilt from the log has no time, and it is the newest.
        by_age = sorted(self._states, key=lambda known: self._states[known].batches[-1].last_offset)
        for producer_id in by_age[: PRODUCERS_MAX // 10]:
            del self._states[producer_id]

    def expire(self, wall_ms: TimestampMs, expiration_ms: int) -> int:
        """Forget who was silent for `expiration_ms`; return how many."""
        gone = []
        for producer_id, state in self._states.items():
            if state.last_seen_ms == UNKNOWN_MS:
                state.last_seen_ms = wall_ms
            elif wall_ms - state.last_seen_ms >= expiration_ms:
                gone.append(producer_id)
        for producer_id in gone:
            del self._states[producer_id]
        return len(gone)

    def encode(self, end_offset: Offset | None = None) -> bytes:
        """Return a snapshot in Kafka's format, of the batches below `end_offset` if it is given.

        Kafka writes one entry per producer. We write up to five, oldest first: who reads it
        entry by entry, as Kafka does, ends with the newest, and we get all five back.
        """
        entries = bytearray()
        for producer_id, state in self._states.items():
            batches = state.batches
            if end_offset is not None and batches[-1].last_offset >= end_offset:
                batches = [batch for batch in batches if batch.last_offset < end_offset]
            for batch in batches:
                entries += _SNAPSHOT_ENTRY.pack(
                    producer_id,
                    state.producer_epoch,
                    batch.last_sequence,
                    batch.last_offset,
                    batch.last_offset - batch.base_offset,
                    state.last_seen_ms if batch is batches[-1] else batch.timestamp_ms,
                    -1,
                    -1,
                )
        count = _COUNT.pack(len(entries) // _SNAPSHOT_ENTRY.size)
        crc = crc32c(entries, crc32c(count))
        return _SNAPSHOT_HEADER.pack(_SNAPSHOT_VERSION, crc, *_COUNT.unpack(count)) + entries

    def take_over(self, other: Producers) -> None:
        """Know what `other` knows, which is used no more, and nothing else."""
        self._states = other._states

    def load(self, data: bytes) -> bool:
        """Take over a snapshot; False, with nothing taken, if it is not one."""
        entries = read_snapshot(data)
        if entries is None:
            return False
        self._states = {}
        for (
            producer_id,
            producer_epoch,
            last_sequence,
            last_offset,
            delta,
            seen_ms,
            _,
            _,
        ) in entries:
            state = self._states.get(producer_id)
            if state is None:
                state = self._states[producer_id] = Producer(producer_epoch)
            first = (last_sequence - delta) % SEQUENCES
            state.producer_epoch = producer_epoch
            state.batches.append(
                Appended(first, last_sequence, last_offset - delta, last_offset, seen_ms)
            )
            if len(state.batches) > BATCHES_KEPT:
                del state.batches[0]
            state.next_sequence = (last_sequence + 1) % SEQUENCES
            state.last_seen_ms = seen_ms
        return True
