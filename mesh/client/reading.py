"""The reader's machine: from where, up to where, what to fetch from whom, in order. Pure.

Each partition first looks up its start and its ends (ListOffsets), then is fetched until its end,
if it has one. Batches stay as they came until `take` unpacks them, one at a time, so that memory
is bounded by what was fetched and one unpacked batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from mesh.client.assignment import EARLIEST, LATEST, Assignment, AtOffset, AtTime, Chunk, Place
from mesh.client.cluster import Cluster
from mesh.client.codes import RETRIABLE, STALE_LEADER, code_of
from mesh.client.producing import RefreshMetadata
from mesh.client.settings import (
    Address,
    Chance,
    ClientSettings,
    ReaderSettings,
    UnknownTopicError,
)
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import NodeId, Now, TopicPartition
from mesh.wire import Parts
from mesh.wire.schemas.fetch import (
    AbortedTransaction,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
)
from mesh.wire.schemas.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from storage.errors import CorruptBatch
from storage.records import (
    CONTROL,
    TRANSACTIONAL,
    BatchHeader,
    Record,
    batches,
    crc_matches,
    read_batch_header,
    read_records,
)
from storage.types import Offset, TimestampMs

GONE_MS_MAX = 5_000
"""A topic that metadata does not know for so long was deleted; before, a node may just lag."""
ABORT_MARKER = b"\0\0\0\0"
"""Key of a control record: version 0, type 0."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Effect: send the request to the node, then call `answered` or `lost` with its id."""

    node: NodeId
    request_id: int
    request: FetchRequest | ListOffsetsRequest


@dataclass(frozen=True, slots=True)
class Skipped:
    """Effect: the wanted offset is not in the log; reading goes on elsewhere, as was asked for."""

    partition: TopicPartition
    wanted: Offset
    offset: Offset


@dataclass(frozen=True, slots=True)
class Broken:
    """Effect: this partition can never go on; the reader ends with the error."""

    error: KafkaError


Effect: TypeAlias = Ask | Skipped | Broken | RefreshMetadata


@dataclass(slots=True)
class Lane:
    """How far one partition is."""

    partition: TopicPartition
    start: Place | None
    """None once `fetch_offset` is known."""
    ends: list[Place]
    """Those still to be looked up."""
    fetch_offset: Offset = 0
    next_offset: Offset = 0
    """Of the records handed out."""
    end_offset: Offset | None = None
    stop_at_ms: TimestampMs | None = None
    """An end in the future: the first record that is as new ends the partition."""
    wanted: Offset | None = None
    """What was out of range while the start is looked up again."""
    high_watermark: Offset = -1
    ready: deque[tuple[BatchHeader, memoryview]] = field(default_factory=deque)
    ready_bytes: int = 0
    busy: bool = False
    done: bool = False
    broken: bool = False
    """It can never go on; it is not done, so that nobody takes this for its end."""
    retry_at_ms: int = 0
    failures: int = 0
    failing_since_ms: int | None = None

    @property
    def fetched_all(self) -> bool:
        """Whether nothing below the end is left to fetch."""
        return self.end_offset is not None and self.fetch_offset >= self.end_offset


class ReadMachine:
    """All partitions of one reader."""

    def __init__(
        self,
        assignments: Sequence[Assignment],
        settings: ReaderSettings,
        client: ClientSettings,
        cluster: Cluster,
        chance: Chance,
    ) -> None:
        """Raises ValueError if a partition is assigned twice."""
        self.cluster = cluster
        self.wake_at_ms: int | None = None
        self.buffered_bytes = 0
        self._settings = settings
        self._client = client
        self._chance = chance
        self._lanes: dict[TopicPartition, Lane] = {}
        for item in assignments:
            if item.partition in self._lanes:
                raise ValueError(f"{item.partition} is assigned twice")
            lane = Lane(item.partition, item.start, list(item.ends))
            self._lanes[item.partition] = lane
            if isinstance(item.start, AtOffset):
                lane.start = None
                lane.fetch_offset = lane.next_offset = item.start.offset
            self._take_known_ends(lane)
        self._requests: dict[int, list[Lane]] = {}
        self._fetching: dict[NodeId, int] = {}
        """The one Fetch that a node has, by its request id."""
        self._request_id = 0
        self._effects: list[Effect] = []
        self._stale: set[str] = set()
        self._refresh_at_ms = 0

    @property
    def done(self) -> bool:
        """Whether every partition has reached its end and all was taken."""
        return all(lane.done for lane in self._lanes.values())

    def position(self, partition: TopicPartition) -> Offset | None:
        """Return the offset of the next record to be handed out; None before it is known."""
        lane = self._lanes[partition]
        return None if lane.start is not None else lane.next_offset

    def high_watermark(self, partition: TopicPartition) -> Offset:
        """Return the end of what was committed at the last answer; -1 before one came."""
        return self._lanes[partition].high_watermark

    # What goes out.

    def poll(self, now: Now) -> list[Effect]:
        """Return what is to be done now; sets wake_at_ms."""
        lookups: dict[NodeId, list[Lane]] = {}
        fetches: dict[NodeId, list[Lane]] = {}
        room = self.buffered_bytes < self._settings.buffer_bytes_max
        for lane in list(self._lanes.values()):
            if lane.done or lane.broken or lane.busy or now.monotonic_ms < lane.retry_at_ms:
                continue
            leader = self.cluster.leader(lane.partition)
            if leader is None:
                self._set_back(lane, ErrorCode.LEADER_NOT_AVAILABLE, now)
            elif lane.start is not None or lane.ends:
                lookups.setdefault(leader, []).append(lane)
            elif room and leader not in self._fetching and self._wants_more(lane):
                fetches.setdefault(leader, []).append(lane)
        for node, lanes in lookups.items():
            self._ask(node, lanes, self._lookup(lanes))
        for node, lanes in fetches.items():
            self._ask(node, lanes, self._fetch(lanes))
            self._fetching[node] = self._request_id
            for lane in lanes:  # To the end of the line: a full answer serves the first ones.
                self._lanes[lane.partition] = self._lanes.pop(lane.partition)
        if self._stale and now.monotonic_ms >= self._refresh_at_ms:
            self._effects.append(RefreshMetadata(tuple(sorted(self._stale))))
            self._stale.clear()
            self._refresh_at_ms = now.monotonic_ms + self._client.backoff_ms(0, self._chance)
        times = [
            lane.retry_at_ms for lane in self._lanes.values() if not (lane.done or lane.broken)
        ]
        times += [self._refresh_at_ms] if self._stale else []
        self.wake_at_ms = min((time for time in times if time > now.monotonic_ms), default=None)
        effects, self._effects = self._effects, []
        return effects

    def take(self) -> Chunk | None:
        """Return the records of the next batch that was fetched; None if there is none now.

        Raises:
            KafkaError: CORRUPT_MESSAGE, the batch cannot be unpacked.
        """
        for lane in list(self._lanes.values()):
            while lane.ready:
                header, batch = lane.ready.popleft()
                lane.ready_bytes -= len(batch)
                self.buffered_bytes -= len(batch)
                try:
                    records = list(self._wanted(lane, header, batch))
                except CorruptBatch as error:
                    raise _corrupt(lane.partition, error) from error
                lane.next_offset = header.last_offset + 1
                self._finish_if_at_end(lane)
                if records:
                    # To the end of the line, so that partitions take turns.
                    self._lanes[lane.partition] = self._lanes.pop(lane.partition)
                    return Chunk(lane.partition, records)
        return None

    # What comes in.

    def answered(
        self, request_id: int, response: FetchResponse | ListOffsetsResponse, now: Now
    ) -> None:
        """Take the answer to a request."""
        lanes = {lane.partition: lane for lane in self._close(request_id)}
        if isinstance(response, ListOffsetsResponse):
            for topic in response.topics:
                for found in topic.partitions:
                    lane = lanes.pop(TopicPartition(topic.name, found.partition_index), None)
                    if lane is not None:
                        self._found(lane, found, now)
        else:
            for node in response.node_endpoints:
                self.cluster.endpoint(node.node_id, Address(node.host, node.port))
            for answer in response.responses:
                name = self.cluster.name_of(answer.topic, answer.topic_id)
                for data in answer.partitions:
                    lane = lanes.pop(TopicPartition(name, data.partition_index), None)
                    if lane is not None:
                        self._fetched(lane, data, now)
        code = ErrorCode.NETWORK_EXCEPTION
        if isinstance(response, FetchResponse) and response.error_code:
            code = code_of(response.error_code)
        for lane in lanes.values():
            self._set_back(lane, code, now)

    def lost(self, request_id: int, now: Now) -> None:
        """Take note that no answer will come."""
        for lane in self._close(request_id):
            self._set_back(lane, ErrorCode.NETWORK_EXCEPTION, now)

    # Inside.

    def _wants_more(self, lane: Lane) -> bool:
        # Four answers ahead: a partition left out of a Fetch waits for the next, up to its whole
        # fetch_wait_ms_max.
        return not lane.fetched_all and lane.ready_bytes < 4 * self._settings.partition_bytes_max

    def _ask(
        self, node: NodeId, lanes: list[Lane], request: FetchRequest | ListOffsetsRequest
    ) -> None:
        self._request_id += 1
        self._requests[self._request_id] = lanes
        for lane in lanes:
            lane.busy = True
        self._effects.append(Ask(node, self._request_id, request))

    def _close(self, request_id: int) -> list[Lane]:
        lanes = self._requests.pop(request_id)
        for node in [node for node, fetch in self._fetching.items() if fetch == request_id]:
            del self._fetching[node]
        for lane in lanes:
            lane.busy = False
        return lanes

    def _lookup(self, lanes: list[Lane]) -> ListOffsetsRequest:
        topics: dict[str, ListOffsetsTopic] = {}
        for lane in lanes:
            name, index = lane.partition
            place = lane.start if lane.start is not None else lane.ends[0]
            assert isinstance(place, AtTime)
            data = topics.setdefault(name, ListOffsetsTopic(name=name))
            data.partitions.append(
                ListOffsetsPartition(
                    partition_index=index,
                    current_leader_epoch=self._epoch(lane),
                    timestamp=place.timestamp_ms,
                )
            )
        return ListOffsetsRequest(
            replica_id=-1,
            isolation_level=int(self._settings.committed_only),
            topics=list(topics.values()),
            timeout_ms=self._client.request_ms_max,
        )

    def _fetch(self, lanes: list[Lane]) -> FetchRequest:
        topics: dict[str, FetchTopic] = {}
        for lane in lanes:
            name, index = lane.partition
            data = topics.get(name)
            if data is None:
                data = FetchTopic(topic=name, topic_id=self.cluster.topic_id(name))
                topics[name] = data
            data.partitions.append(
                FetchPartition(
                    partition=index,
                    current_leader_epoch=self._epoch(lane),
                    fetch_offset=lane.fetch_offset,
                    partition_max_bytes=self._settings.partition_bytes_max,
                )
            )
        return FetchRequest(
            max_wait_ms=self._settings.fetch_wait_ms_max,
            min_bytes=self._settings.fetch_bytes_min,
            max_bytes=self._settings.fetch_bytes_max,
            isolation_level=int(self._settings.committed_only),
            session_id=0,
            session_epoch=-1,  # No fetch session: each request names all that it wants.
            topics=list(topics.values()),
        )

    def _epoch(self, lane: Lane) -> int:
        state = self.cluster.partition(lane.partition)
        return state.leader_epoch if state is not None else -1

    def _found(self, lane: Lane, found: ListOffsetsPartitionResponse, now: Now) -> None:
        code = code_of(found.error_code)
        if code is not ErrorCode.NONE:
            self._set_back(lane, code, now)
            return
        lane.failures, lane.failing_since_ms = 0, None
        if lane.start is not None:
            self._found_start(lane, found.offset)
            return
        end = lane.ends.pop(0)
        if found.offset >= 0:
            self._end_before(lane, found.offset)
        elif isinstance(end, AtTime) and end.timestamp_ms > now.wall_ms:
            lane.stop_at_ms = end.timestamp_ms
        else:  # The time has passed and nothing is as new: all that is there now comes before.
            lane.ends.insert(0, LATEST)
        self._take_known_ends(lane)

    def _found_start(self, lane: Lane, offset: Offset) -> None:
        if offset < 0:  # No record is as new as the time asked for: begin behind the last one.
            lane.start = LATEST
            return
        if lane.wanted is not None:
            nearest = self._settings.reset == "nearest"
            if nearest and lane.start == EARLIEST and offset < lane.wanted:
                lane.start = LATEST  # It is not below the log but beyond its end.
                return
            self._effects.append(Skipped(lane.partition, lane.wanted, offset))
            lane.wanted = None
        lane.start = None
        lane.fetch_offset = offset
        if not lane.ready:
            lane.next_offset = offset
        self._finish_if_at_end(lane)

    def _take_known_ends(self, lane: Lane) -> None:
        while lane.ends and isinstance(end := lane.ends[0], AtOffset):
            self._end_before(lane, end.offset)
            del lane.ends[0]
        self._finish_if_at_end(lane)

    def _end_before(self, lane: Lane, offset: Offset) -> None:
        lane.end_offset = offset if lane.end_offset is None else min(offset, lane.end_offset)

    def _finish_if_at_end(self, lane: Lane) -> None:
        if lane.start is None and lane.end_offset is not None:
            lane.done |= lane.next_offset >= lane.end_offset

    def _fetched(self, lane: Lane, data: PartitionData, now: Now) -> None:
        code = code_of(data.error_code)
        if code is ErrorCode.OFFSET_OUT_OF_RANGE:
            self._out_of_range(lane, data)
            return
        if code is not ErrorCode.NONE:
            hinted = self.cluster.hint(lane.partition, data.current_leader)
            self._set_back(lane, code, now, hinted=hinted)
            return
        lane.failures, lane.failing_since_ms = 0, None
        lane.high_watermark = data.high_watermark
        aborted = _Aborted(data.aborted_transactions or [])
        records = data.records
        assert not isinstance(records, Parts)  # Only ever encoded.
        cut = bool(records)
        try:
            for batch in batches(records or b""):
                self._keep(lane, batch, aborted)
                cut = False
            if cut:  # Asking again would bring the same; Kafka sends a first batch whole (KIP-74).
                raise CorruptBatch(f"the first batch from offset {lane.fetch_offset} on is cut")
        except CorruptBatch as error:
            self._break(lane, _corrupt(lane.partition, error))

    def _keep(self, lane: Lane, batch: memoryview, aborted: _Aborted) -> None:
        header = read_batch_header(batch)
        after = header.last_offset + 1
        if after <= lane.fetch_offset or lane.fetched_all:
            return
        if not crc_matches(batch):
            raise CorruptBatch(f"CRC-32C differs in the batch at offset {header.base_offset}")
        lane.fetch_offset = after
        # What is not for readers stays in line without its records, to move the position.
        kept = batch if aborted.allows(header, batch) else batch[:0]
        lane.ready.append((header, kept))
        lane.ready_bytes += len(kept)
        self.buffered_bytes += len(kept)

    def _wanted(self, lane: Lane, header: BatchHeader, batch: memoryview) -> Iterator[Record]:
        if not batch or header.attributes & CONTROL:
            return
        for record in read_records(batch):
            if record.offset < lane.next_offset:
                continue  # Batches come whole; the head was read before or not asked for.
            if lane.end_offset is not None and record.offset >= lane.end_offset:
                return
            if lane.stop_at_ms is not None and record.timestamp_ms >= lane.stop_at_ms:
                self._end_before(lane, record.offset)
                return
            yield record

    def _out_of_range(self, lane: Lane, data: PartitionData) -> None:
        if self._settings.reset is None:
            text = f"{lane.partition} has no offset {lane.fetch_offset}"
            self._break(lane, KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE, text))
            return
        lane.wanted = lane.fetch_offset
        lane.start = LATEST if self._settings.reset == "latest" else EARLIEST

    def _break(self, lane: Lane, error: KafkaError) -> None:
        lane.broken = True
        self._effects.append(Broken(error))

    def _set_back(self, lane: Lane, code: ErrorCode, now: Now, *, hinted: bool = False) -> None:
        """Try again after a pause, or end the reader if that cannot help."""
        if lane.failing_since_ms is None:
            lane.failing_since_ms = now.monotonic_ms
        failing_ms = now.monotonic_ms - lane.failing_since_ms
        topic = lane.partition.topic
        gone = self.cluster.errors.get(topic) in (
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode.UNKNOWN_TOPIC_ID,
        )
        if gone and failing_ms >= GONE_MS_MAX:
            self._break(lane, UnknownTopicError(f"topic {topic} is no longer there"))
        elif code not in RETRIABLE or failing_ms >= self._settings.stuck_ms_max:
            text = f"{lane.partition}, for {failing_ms} ms"
            self._break(lane, KafkaError(code, text))
        elif hinted:
            lane.retry_at_ms = now.monotonic_ms
        else:
            if code in STALE_LEADER:
                self._stale.add(topic)
            pause = self._client.backoff_ms(lane.failures, self._chance)
            lane.retry_at_ms = now.monotonic_ms + pause
            lane.failures += 1


def _corrupt(partition: TopicPartition, error: CorruptBatch) -> KafkaError:
    return KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{partition}: {error}")


class _Aborted:
    """Which batches of one Fetch answer belong to transactions that were given up (KIP-98)."""

    __slots__ = ("_active", "_waiting")

    def __init__(self, transactions: Sequence[AbortedTransaction]) -> None:
        ordered = sorted(transactions, key=lambda item: item.first_offset)
        self._waiting = deque((item.first_offset, item.producer_id) for item in ordered)
        self._active: set[int] = set()

    def allows(self, header: BatchHeader, batch: memoryview) -> bool:
        """Return whether readers of committed records see this batch; call in offset order."""
        while self._waiting and self._waiting[0][0] <= header.last_offset:
            self._active.add(self._waiting.popleft()[1])
        if header.attributes & CONTROL:
            if header.producer_id in self._active:
                marker = next(iter(read_records(batch)), None)
                if marker is not None and marker.key == ABORT_MARKER:
                    self._active.discard(header.producer_id)
            return False
        return not (header.attributes & TRANSACTIONAL and header.producer_id in self._active)
