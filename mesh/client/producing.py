"""The producer's machine: gathers records into batches, says what to send where, settles each.

Pure: records and answers go in with the time, effects come out of `poll`. The order within a
partition is kept and, when idempotent, each record is written once: batches carry consecutive
sequence numbers, one that failed holds back all behind it, and a hole (a batch given up after
it had a number) is closed by a new producer epoch that starts at zero again (KIP-360). The epoch
is the partition's own: brokers keep producer state per partition and compare nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from mesh.client.batch import Batch, Headers, Lane, size_of
from mesh.client.cluster import Cluster
from mesh.client.codes import MAYBE_WRITTEN, RETRIABLE, SEQUENCE_LOST, STALE_LEADER, code_of
from mesh.client.partitioner import StickyPartitioner, partition_of_key
from mesh.client.settings import (
    Address,
    Chance,
    ClientSettings,
    DeliveryError,
    ProducerSettings,
    UnknownTopicError,
)
from mesh.model.errors import ErrorCode
from mesh.model.types import NodeId, Now, TopicPartition
from mesh.wire.schemas.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from storage.records import Record, build_batch
from storage.types import Buffer, Offset

SEQUENCE_MASK = 2**31 - 1
EPOCH_MAX = 2**15 - 1


@dataclass(frozen=True, slots=True)
class Send:
    """Effect: send the request to the node; then call `answered`, `sent` or `lost` with its id."""

    node: NodeId
    request_id: int
    request: ProduceRequest


@dataclass(frozen=True, slots=True)
class Finished:
    """Effect: the batch has its outcome; whoever waits for it may go on."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class RefreshMetadata:
    """Effect: ask for metadata of these topics; then poll again."""

    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GetProducerId:
    """Effect: send InitProducerId to any node; then call `identified` or `not_identified`."""


Effect: TypeAlias = Send | Finished | RefreshMetadata | GetProducerId


class ProduceMachine:
    """All partitions of one producer."""

    def __init__(
        self,
        settings: ProducerSettings,
        client: ClientSettings,
        cluster: Cluster,
        chance: Chance,
    ) -> None:
        self.settings = settings
        self.cluster = cluster
        self.buffered_bytes = 0
        self.wake_at_ms: int | None = None
        """Monotonic instant at which poll has something to do even if nothing happens."""
        self._client = client
        self._chance = chance
        self._lanes: dict[TopicPartition, Lane] = {}
        self._active: dict[TopicPartition, Lane] = {}
        self._sticky: dict[str, StickyPartitioner] = {}
        self._requests: dict[int, tuple[NodeId, list[Batch]]] = {}
        self._node_requests: dict[NodeId, int] = {}
        self._request_id = 0
        self._effects: list[Effect] = []
        self._stale: set[str] = set()
        self._refresh_at_ms = 0
        self._producer_id = -1
        self._producer_epoch = -1
        self._identifying = False
        self._identify_at_ms = 0
        self._identify_failures = 0

    # Events.

    def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        now: Now,
        partition: int | None = None,
        headers: Headers = (),
        timestamp_ms: int | None = None,
    ) -> tuple[Batch, int]:
        """Take a record in; return its batch and its index there.

        The caller has seen to it that the topic's metadata is there and that the record fits.

        Raises:
            UnknownTopicError: no metadata for the topic, or no such partition.
        """
        size = size_of(key, value, headers)
        place = TopicPartition(topic, self._partition(topic, key, partition, size))
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = Lane(place, deque())
        self._active[place] = lane
        batch = lane.queue[-1] if lane.queue else None
        if batch is None or batch.closed or batch.size + size > self.settings.batch_bytes_max:
            if batch is not None:
                batch.closed = True
            batch = Batch(place, now.monotonic_ms)
            lane.queue.append(batch)
        index = batch.count
        stamp = now.wall_ms if timestamp_ms is None else timestamp_ms
        batch.add(Record(index, stamp, key, value, list(headers)), size)
        self.buffered_bytes += size
        return batch, index

    def flush(self) -> list[Batch]:
        """Let nothing linger; return all batches that have no outcome yet."""
        unsettled = [batch for lane in self._active.values() for batch in lane.queue]
        for batch in unsettled:
            batch.closed = True
        return unsettled

    def answered(self, request_id: int, response: ProduceResponse, now: Now) -> None:
        """Take the answer to a request."""
        batches = {batch.partition: batch for batch in self._close(request_id)}
        for node in response.node_endpoints:
            self.cluster.endpoint(node.node_id, Address(node.host, node.port))
        for topic in response.responses:
            name = self.cluster.name_of(topic.name, topic.topic_id)
            for result in topic.partition_responses:
                batch = batches.pop(TopicPartition(name, result.index), None)
                if batch is not None:
                    self._settle(batch, result, now)
        for batch in batches.values():  # An answer that leaves one out tells nothing of its fate.
            batch.maybe_written = True
            self._retry(batch, ErrorCode.UNKNOWN_SERVER_ERROR, now)

    def sent(self, request_id: int) -> None:
        """Take note that a request to which no answer comes (acks=0) has left."""
        for batch in self._close(request_id):
            self._succeed(self._lanes[batch.partition], batch, -1, -1)

    def lost(self, request_id: int, now: Now, *, maybe_sent: bool) -> None:
        """Take note that no answer will come; maybe_sent: the broker may have got it whole."""
        for batch in self._close(request_id):
            batch.maybe_written |= maybe_sent
            self._retry(batch, ErrorCode.NETWORK_EXCEPTION, now)

    def identified(self, producer_id: int, producer_epoch: int) -> None:
        """Take the producer id that was asked for."""
        self._identifying, self._identify_failures = False, 0
        self._producer_id, self._producer_epoch = producer_id, producer_epoch

    def not_identified(self, now: Now) -> None:
        """Take note that no id came; it is asked for again after a pause."""
        pause = self._client.backoff_ms(self._identify_failures, self._chance)
        self._identifying, self._identify_at_ms = False, now.monotonic_ms + pause
        self._identify_failures += 1

    def fail_all(self, code: ErrorCode, why: str) -> None:
        """Give up everything: the driver ends, or the broker refuses this producer for good."""
        for lane in list(self._active.values()):
            for batch in list(lane.queue):
                batch.maybe_written |= batch.in_flight
                self._fail(lane, batch, code, why)
            lane.in_flight = 0
        self._requests.clear()
        self._node_requests.clear()

    def poll(self, now: Now) -> list[Effect]:
        """Return what is to be done now, in order; sets wake_at_ms."""
        for lane in list(self._active.values()):
            self._expire(lane, now)
            if lane.in_flight == 0:
                lane.recovering = False
                if lane.hole:
                    self._renumber(lane)
            if not lane.queue:
                del self._active[lane.partition]
        while self._fill_requests(now):
            pass
        if self._stale and now.monotonic_ms >= self._refresh_at_ms:
            self._effects.append(RefreshMetadata(tuple(sorted(self._stale))))
            self._stale.clear()
            pause = self._client.backoff_ms(0, self._chance)
            self._refresh_at_ms = now.monotonic_ms + pause
        self.wake_at_ms = self._next_wake(now)
        effects, self._effects = self._effects, []
        return effects

    # Choosing what to send.

    def _partition(self, topic: str, key: bytes | None, partition: int | None, size: int) -> int:
        count = self.cluster.partition_count(topic)
        if count == 0:
            raise UnknownTopicError(f"topic {topic} is not known")
        if partition is not None:
            if not 0 <= partition < count:
                raise UnknownTopicError(f"topic {topic} has partitions 0 to {count - 1} only")
            return partition
        if key is not None:
            return partition_of_key(key, count)
        sticky = self._sticky.get(topic)
        if sticky is None:
            first = int(self._chance() * count)
            sticky = StickyPartitioner(self.settings.batch_bytes_max, first)
            self._sticky[topic] = sticky
        return sticky.choose(size, count)

    def _fill_requests(self, now: Now) -> bool:
        """Make at most one request per node; return whether another round may make more."""
        plan: dict[NodeId, list[Batch]] = {}
        sizes: dict[NodeId, int] = {}
        for lane in list(self._active.values()):
            batch = self._sendable(lane, now)
            if batch is None:
                continue
            leader = self.cluster.leader(lane.partition)
            if leader is None:
                self._stale.add(lane.partition.topic)
                continue
            if self._node_requests.get(leader, 0) >= self.settings.in_flight_max:
                continue
            if self.settings.is_idempotent and not self._identify(lane, now):
                continue
            size = sizes.get(leader, 0) + batch.size
            if size > self.settings.request_bytes_max and leader in plan:
                continue
            sizes[leader] = size
            plan.setdefault(leader, []).append(batch)
            # To the end of the line, so that a full request leaves nobody out for ever.
            self._active[lane.partition] = self._active.pop(lane.partition)
        for node, batches in plan.items():
            self._send(node, batches)
        return bool(plan)

    def _sendable(self, lane: Lane, now: Now) -> Batch | None:
        """Return the next batch in line if it may leave now."""
        if lane.recovering or lane.in_flight >= len(lane.queue):
            return None
        window = 5 if lane.proven and self.settings.is_idempotent else 1
        if lane.in_flight >= window or now.monotonic_ms < lane.retry_at_ms:
            return None
        batch = lane.queue[lane.in_flight]
        if lane.in_flight and (batch.attempts or lane.queue[0].attempts > 1):
            # What may be in the log already goes alone: new batches beside it could push it out
            # of the five that the broker remembers, and it would be written twice.
            return None
        ripe = batch.closed or batch.attempts or self._is_full(batch)
        if ripe or now.monotonic_ms >= batch.born_ms + self.settings.linger_ms:
            return batch
        return None

    def _is_full(self, batch: Batch) -> bool:
        return batch.size >= self.settings.batch_bytes_max

    def _identify(self, lane: Lane, now: Now) -> bool:
        """Give the lane its producer id; ask for one if there is none."""
        if lane.producer_id >= 0:
            return True
        if self._producer_id >= 0:
            lane.producer_id, lane.producer_epoch = self._producer_id, self._producer_epoch
            lane.next_sequence = 0
            return True
        if not self._identifying and now.monotonic_ms >= self._identify_at_ms:
            self._identifying = True
            self._effects.append(GetProducerId())
        return False

    def _send(self, node: NodeId, batches: Iterable[Batch]) -> None:
        topics: dict[str, TopicProduceData] = {}
        batches = list(batches)
        for batch in batches:
            name, index = batch.partition
            lane = self._lanes[batch.partition]
            data = topics.get(name)
            if data is None:
                data = TopicProduceData(name=name, topic_id=self.cluster.topic_id(name))
                topics[name] = data
            data.partition_data.append(
                PartitionProduceData(index=index, records=self._encode(lane, batch))
            )
            batch.closed = batch.in_flight = True
            batch.attempts += 1
            lane.in_flight += 1
        self._request_id += 1
        self._requests[self._request_id] = (node, batches)
        self._node_requests[node] = self._node_requests.get(node, 0) + 1
        request = ProduceRequest(
            transactional_id=None,
            acks=self.settings.acks,
            # Less than we wait ourselves, so that the broker's own answer arrives in time.
            timeout_ms=self._client.request_ms_max * 3 // 4,
            topic_data=list(topics.values()),
        )
        self._effects.append(Send(node, self._request_id, request))

    def _encode(self, lane: Lane, batch: Batch) -> Buffer:
        if self.settings.is_idempotent and batch.base_sequence < 0:
            batch.base_sequence = lane.next_sequence
            lane.next_sequence = (lane.next_sequence + batch.count) & SEQUENCE_MASK
            batch.payload = None
        if batch.payload is None:
            batch.payload = build_batch(
                batch.records,
                codec=self.settings.codec,
                producer_id=lane.producer_id,
                producer_epoch=lane.producer_epoch,
                base_sequence=batch.base_sequence,
            )
        return batch.payload

    # Settling what came back.

    def _close(self, request_id: int) -> list[Batch]:
        """Return the batches of a request that is over; none if it was given up before."""
        node, batches = self._requests.pop(request_id, (-1, []))
        if node in self._node_requests:
            self._node_requests[node] -= 1
            if not self._node_requests[node]:
                del self._node_requests[node]
        for batch in batches:
            batch.in_flight = False
            self._lanes[batch.partition].in_flight -= 1
        return batches

    def _settle(self, batch: Batch, result: PartitionProduceResponse, now: Now) -> None:
        code = code_of(result.error_code)
        lane = self._lanes[batch.partition]
        if code is ErrorCode.NONE or code is ErrorCode.DUPLICATE_SEQUENCE_NUMBER:
            self._succeed(lane, batch, result.base_offset, result.log_append_time_ms)
            return
        if code in MAYBE_WRITTEN:
            batch.maybe_written = True
        hinted = self.cluster.hint(batch.partition, result.current_leader)
        if self.settings.is_idempotent and code in SEQUENCE_LOST:
            # At the head it means that the broker forgot us or lost records; behind a batch that
            # failed it is the plain consequence of that.
            lane.hole |= lane.queue[0] is batch
            self._retry(batch, code, now)
        elif code is ErrorCode.MESSAGE_TOO_LARGE and batch.count > 1:
            self._split(lane, batch)
        elif code in RETRIABLE:
            self._retry(batch, code, now, refresh=code in STALE_LEADER and not hinted)
            if hinted:
                lane.retry_at_ms = now.monotonic_ms  # The new leader is known: no need to wait.
        else:
            self._fail(lane, batch, code, result.error_message or code.name)
            lane.recovering = lane.in_flight > 0

    def _succeed(self, lane: Lane, batch: Batch, base_offset: Offset, append_ms: int) -> None:
        batch.base_offset, batch.log_append_time_ms = base_offset, append_ms
        lane.failures = 0
        lane.proven = not lane.recovering
        self._finish(lane, batch)

    def _retry(
        self, batch: Batch, code: ErrorCode, now: Now, *, refresh: bool | None = None
    ) -> None:
        lane = self._lanes[batch.partition]
        if refresh if refresh is not None else code in STALE_LEADER:
            self._stale.add(batch.partition.topic)
        lane.proven = False
        lane.recovering = True
        if self.settings.acks == 0:
            self._fail(lane, batch, code, "the connection was lost")
            return
        lane.last_error = code
        if lane.queue[0] is batch:  # The others fail only because this one did.
            pause = self._client.backoff_ms(lane.failures, self._chance)
            lane.retry_at_ms = now.monotonic_ms + pause
            lane.failures += 1

    def _fail(self, lane: Lane, batch: Batch, code: ErrorCode, why: str) -> None:
        batch.error = DeliveryError(
            batch.partition, batch.count, code, maybe_written=batch.maybe_written, why=why
        )
        lane.proven = False
        lane.hole |= batch.base_sequence >= 0
        self._finish(lane, batch)

    def _finish(self, lane: Lane, batch: Batch) -> None:
        lane.queue.remove(batch)
        self.buffered_bytes -= batch.size
        batch.done = True
        batch.records, batch.payload = [], None
        self._effects.append(Finished(batch))

    def _split(self, lane: Lane, batch: Batch) -> None:
        """Leave half of a batch that is larger than the broker takes; the rest follows it.

        Nothing of it was written, so both halves keep their sequence numbers.
        """
        middle = len(batch.records) // 2
        rest = Batch(batch.partition, batch.born_ms)
        rest.closed, rest.attempts = True, batch.attempts
        rest.rest, batch.rest = batch.rest, rest
        for record in batch.records[middle:]:
            rest.add(record, size_of(record.key, record.value, record.headers))
        del batch.records[middle:]
        batch.count = middle
        batch.size -= rest.size
        batch.payload = None
        if batch.base_sequence >= 0:
            rest.base_sequence = (batch.base_sequence + middle) & SEQUENCE_MASK
        lane.queue.insert(lane.queue.index(batch) + 1, rest)
        lane.proven, lane.recovering = False, True

    def _expire(self, lane: Lane, now: Now) -> None:
        """Give up what waited too long, and what may have been written behind such a batch.

        The latter would be written twice if it were sent again under a new epoch.
        """
        doubtful = False
        while lane.in_flight == 0 and lane.queue:
            head = lane.queue[0]
            late = now.monotonic_ms >= head.born_ms + self.settings.delivery_ms_max
            if not late and not (doubtful and head.maybe_written):
                return
            doubtful = head.maybe_written
            why = f"no success within {self.settings.delivery_ms_max} ms"
            self._fail(lane, head, lane.last_error, why)

    def _renumber(self, lane: Lane) -> None:
        """Begin again at sequence 0 under a new epoch; all that still waits was not written."""
        lane.hole = lane.proven = False
        lane.next_sequence = 0
        lane.producer_epoch += 1
        if lane.producer_epoch > EPOCH_MAX:
            if self._producer_id == lane.producer_id:
                self._producer_id = -1
            lane.producer_id = -1
        for batch in lane.queue:
            batch.base_sequence, batch.payload = -1, None

    def _next_wake(self, now: Now) -> int | None:
        times = [self._refresh_at_ms] if self._stale else []
        for lane in self._active.values():
            if lane.in_flight == 0:
                times.append(lane.queue[0].born_ms + self.settings.delivery_ms_max)
            if not lane.recovering and lane.in_flight < len(lane.queue):
                batch = lane.queue[lane.in_flight]
                ripe = batch.closed or batch.attempts
                times.append(lane.retry_at_ms)
                times.append(0 if ripe else batch.born_ms + self.settings.linger_ms)
        if self._active and self._producer_id < 0 and not self._identifying:
            times.append(self._identify_at_ms)
        # What is due already waits for an answer, not for the time.
        return min((time for time in times if time > now.monotonic_ms), default=None)
