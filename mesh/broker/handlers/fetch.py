"""Fetch (key 1): slices of segment files up to the high watermark, at once or when they come.

Sessions are declined as KIP-227 allows: every answer names session 0 and holds every requested
partition, so that no node has to remember what a client wants (docs/protocol.md G30).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.redirects import FETCH_SINCE, name_leader
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.limits import INLINE_FETCH_BYTES_MAX
from mesh.model.types import Now
from mesh.wire import Part, Parts
from mesh.wire.schemas.fetch import (
    EpochEndOffset,
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
)
from storage.disk import DiskError, FileSlice
from storage.errors import LogError, OffsetOutOfRange

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.partition import Partition

MOVED, FENCED = ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH
READ_UNCOMMITTED, READ_COMMITTED = 0, 1
NOT_IN_A_SESSION = (0, -1)
"""Session epochs of a full fetch: one that opens a session, one that wants none."""


class FetchWaiter:
    """A fetch that waits for `min_bytes`; what it reads is looked up anew at each poll."""

    __slots__ = ("_body", "_broker", "_bytes_max", "_found", "_version", "deadline_ms")

    def __init__(self, broker: Broker, request: Request, body: FetchRequest) -> None:
        self._broker = broker
        self._version = request.api_version
        self._body = body
        self._bytes_max = min(body.max_bytes, broker.config.fetch_bytes_max)
        self._found: list[tuple[Partition, int]] = []
        """Partitions that the last read found records in, and their bytes."""
        self.deadline_ms = request.now.monotonic_ms + max(body.max_wait_ms, 0)

    def watched(self) -> Sequence[Partition]:
        """Partitions that it reads and that are here."""
        found = (
            self._broker.partition(name, wanted.partition)
            for topic in self._body.topics
            if (name := self._name(topic)) is not None
            for wanted in topic.partitions
        )
        return [partition for partition in found if partition is not None]

    def poll(self, now: Now) -> FetchResponse | None:
        """Return the response if it holds enough, or something that cannot wait."""
        response, size, at_once = self._read()
        # More than max_bytes never comes, however long it waits.
        wanted = min(self._body.min_bytes, self._bytes_max)
        enough = at_once or size >= wanted or self._broker.draining
        return self._counted(response) if enough else None

    def expired(self, now: Now) -> FetchResponse:
        """Return what there is."""
        return self._counted(self._read()[0])

    def _counted(self, response: FetchResponse) -> FetchResponse:
        """Note the traffic of a response that is sent."""
        for partition, size in self._found:
            partition.bytes_out += size
            partition.fetches += 1
        return response

    def _name(self, topic: FetchTopic) -> str | None:
        by_id = self._version >= 13
        return self._broker.topic_name(topic.topic_id) if by_id else topic.topic

    def _read(self) -> tuple[FetchResponse, int, bool]:
        """Return the response, its bytes of records, and whether it must not wait."""
        body, size, at_once = self._body, 0, False
        self._found.clear()
        response = FetchResponse()
        for topic in body.topics:
            name = self._name(topic)
            answer = FetchableTopicResponse(topic=topic.topic, topic_id=topic.topic_id)
            response.responses.append(answer)
            for wanted in topic.partitions:
                try:
                    data, ends_early = self._read_partition(name, wanted, size)
                except KafkaError as error:
                    data = PartitionData(
                        partition_index=wanted.partition,
                        error_code=error.code,
                        high_watermark=-1,
                        aborted_transactions=None,
                        records=b"",  # Never null: librdkafka takes that for damage (G29).
                    )
                    if error.code in (MOVED, FENCED) and self._version >= FETCH_SINCE:
                        name_leader(self._broker, name, data, response)
                    ends_early = True
                at_once |= ends_early
                answer.partitions.append(data)
                size += len(data.records or b"")
        return response, size, at_once

    def _read_partition(
        self, name: str | None, wanted: FetchPartition, size_before: int
    ) -> tuple[PartitionData, bool]:
        """Read one partition; says, too, whether waiting would bring no more.

        The first batch of the first one is whole even if that exceeds every limit (G31).
        """
        partition = None if name is None else self._broker.partition(name, wanted.partition)
        if partition is None:
            raise KafkaError(
                ErrorCode.UNKNOWN_TOPIC_ID
                if name is None
                else self._broker.why_absent(name, wanted.partition)
            )
        # A fetch may say any negative number for none, as with Kafka; other requests only -1.
        check_leader_epoch(partition, max(wanted.current_leader_epoch, -1))
        committed_only = reads_committed(self._body.isolation_level)
        data = PartitionData(
            partition_index=wanted.partition,
            high_watermark=partition.high_watermark,
            last_stable_offset=partition.last_stable_offset,
            log_start_offset=partition.log.log_start_offset,
            aborted_transactions=[] if committed_only else None,
            records=b"",
        )
        if (diverging := _diverging_epoch(partition, wanted)) is not None:
            data.diverging_epoch = diverging
            return data, True
        end = partition.last_stable_offset if committed_only else partition.high_watermark
        bytes_max = min(wanted.partition_max_bytes, self._bytes_max - size_before)
        offset = wanted.fetch_offset
        try:
            slices = partition.log.read(offset, max(bytes_max, 0), end)
            size = sum(map(len, slices))
            if size and (size_before == 0 or size <= bytes_max):
                data.records = _as_parts(slices, size)
                self._found.append((partition, size))
        except OffsetOutOfRange:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE) from None
        except (LogError, DiskError) as error:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, str(error)) from error
        # Committed records follow in the next segment; the reader has to ask again for them.
        return data, bool(data.records) and partition.log.in_older_segment(offset)


def _as_parts(slices: Sequence[FileSlice], size: int) -> Parts:
    """Small answers are read now, to leave in one call; large ones go from file to socket."""
    parts: list[Part] = []
    for piece in slices:
        cached = piece.read_if_cached() if size <= INLINE_FETCH_BYTES_MAX else None
        parts.append(piece if cached is None else cached)
    return Parts(parts)


def reads_committed(isolation_level: int) -> bool:
    """Whether a reader wants nothing of undecided transactions.

    Raises:
        KafkaError: INVALID_REQUEST, for a level that does not exist.
    """
    if isolation_level not in (READ_UNCOMMITTED, READ_COMMITTED):
        raise KafkaError(ErrorCode.INVALID_REQUEST)
    return isolation_level == READ_COMMITTED


def check_leader_epoch(partition: Partition, current_leader_epoch: int) -> None:
    """Refuse a client that knows an older or a newer leader than we are (G34); -1 stands for none.

    Raises:
        KafkaError: NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH.
    """
    if not partition.leads:
        raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    if current_leader_epoch == -1:
        return
    if current_leader_epoch < partition.leader_epoch:
        raise KafkaError(ErrorCode.FENCED_LEADER_EPOCH)
    if current_leader_epoch > partition.leader_epoch:
        raise KafkaError(ErrorCode.UNKNOWN_LEADER_EPOCH)


def _diverging_epoch(partition: Partition, wanted: FetchPartition) -> EpochEndOffset | None:
    """Return where the reader's log leaves ours, if it told its last epoch and does (KIP-595).

    Raises:
        KafkaError: OFFSET_OUT_OF_RANGE, as Kafka says of an epoch that lies beyond our log.
    """
    if wanted.last_fetched_epoch < 0:
        return None
    if wanted.last_fetched_epoch > partition.leader_epoch:
        raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
    leader_epoch, end_offset = partition.end_of_epoch(wanted.last_fetched_epoch)
    if end_offset < 0:
        return None  # Nothing was written here yet in any epoch.
    if leader_epoch == wanted.last_fetched_epoch and end_offset >= wanted.fetch_offset:
        return None
    return EpochEndOffset(epoch=leader_epoch, end_offset=end_offset)


def handle(broker: Broker, request: Request, body: FetchRequest) -> FetchResponse | FetchWaiter:
    """Answer at once if there is enough or waiting is no use; else wait."""
    if body.session_epoch not in NOT_IN_A_SESSION:
        return FetchResponse(error_code=ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
    waiter = FetchWaiter(broker, request, body)
    if body.max_wait_ms <= 0 or not any(topic.partitions for topic in body.topics):
        return waiter.expired(request.now)
    return waiter.poll(request.now) or waiter


HANDLER = Handler(key=1, versions=(4, 18), request=FetchRequest, handle=handle)
