"""Coordinators of groups on this node: one for each partition of `__consumer_offsets` it leads.

The machines (mesh/groups) decide; here their records are appended, their answers wait for the
commit, their timers fire, and their state is replayed from the log when leadership begins.
"""

from __future__ import annotations

import functools
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from mesh.broker.purgatory import PRUNE_COUNT_MIN, AfterCommit
from mesh.groups import (
    Ask,
    Coordinator,
    OnTimer,
    Topic,
    Turn,
    Wheel,
    decode_offset,
    decode_untrusted,
)
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.limits import COORDINATOR_LOAD_BYTES, STORED_TEXT_BYTES_MAX
from mesh.model.names import OFFSETS_TOPIC, is_hidden
from mesh.registry import NewTopic
from mesh.wire import Message, Struct, WireError
from storage.disk import DiskError
from storage.errors import CorruptBatch, DamagedLog, LogError
from storage.records import (
    Record,
    batches,
    build_batch_of_pairs,
    crc_matches,
    read_batch_header,
    read_records,
)

if TYPE_CHECKING:
    from mesh.broker.api import Request
    from mesh.broker.broker import Broker
    from mesh.broker.partition import Partition
    from mesh.broker.purgatory import Parked
    from mesh.model.types import Now, TopicId
    from mesh.registry import Registry, Rng
    from storage.types import Offset

log = logging.getLogger("mesh.groups")

RELOAD_PAUSE_MS = 1_000
"""How long a coordinator that could not write is not loaded anew."""

NEVER_MS = 2**62
"""A deadline that never comes: the machine itself answers in time."""

Call: TypeAlias = "Callable[[Coordinator, Ask, Turn], None]"
"""What a request asks of its group's coordinator."""
Refuse: TypeAlias = "Callable[[ErrorCode], Struct]"
"""Makes the answer that says an error."""


def _utf_16(text: str) -> Iterable[int]:
    if text.isascii():
        return text.encode()
    units = text.encode("utf-16-be", "surrogatepass")
    return (high << 8 | low for high, low in zip(units[::2], units[1::2], strict=True))


@functools.lru_cache(maxsize=10_000)
def java_hash(text: str) -> int:
    """Return Java's `String.hashCode`: groups are where Kafka's own tools look for them."""
    code, units = 0, _utf_16(text)
    for unit in units:
        code = (31 * code + unit) & 0xFFFFFFFF
    return code - (1 << 32) if code >= 1 << 31 else code


def partition_of(group_id: str, partition_count: int) -> int:
    """Return the index of the partition that keeps a group, as Kafka has it."""
    return (java_hash(group_id) & 0x7FFFFFFF) % partition_count


@functools.lru_cache(maxsize=10_000)
def _host(peer: str) -> str:
    """Return the client's address as Kafka stores it."""
    return f"/{peer.rpartition(':')[0].strip('[]')}"


class Pending(Ask):
    """A request, or a part of one, at a coordinator; as a waiter it waits for its answer."""

    __slots__ = ("deadline_ms", "parked", "refuse", "response", "whole")

    def __init__(
        self,
        request: Request,
        body: Struct,
        refuse: Refuse,
        deadline_ms: int,
        whole: Gathered | None = None,
    ) -> None:
        """`whole` is the answer that this is a part of."""
        # Not by way of Ask's constructor: there is one of these for every heartbeat and commit.
        self.body = body
        self.version = request.api_version
        self.client_id = request.client_id or ""
        self.client_host = _host(request.session.peer)
        self.refuse = refuse
        self.deadline_ms = deadline_ms
        self.response: Struct | None = None
        self.whole = whole
        self.parked: Parked | None = None
        """Set when the broker has found no answer at once."""

    def watched(self) -> Sequence[Partition]:
        """No partition: whoever commits knows who waits for it, and in which order."""
        return ()

    def poll(self, now: Now) -> Message | None:
        """Return the response once there is one."""
        assert self.response is None or isinstance(self.response, Message)
        return self.response

    def expired(self, now: Now) -> Message:
        """Tell the client to look for the coordinator again, and try once more."""
        response = self.refuse(ErrorCode.COORDINATOR_NOT_AVAILABLE)
        assert isinstance(response, Message)
        return response

    def settle(self, response: Struct, now: Now) -> None:
        """All on which the response rests is committed."""
        if self.response is not None:
            return
        self.response = response
        waiter = self if self.whole is None else self.whole
        if self.whole is not None:
            self.whole.missing_count -= 1
        if waiter.parked is not None:
            waiter.parked.poll(now)


class Gathered:
    """Waits for the answers of several groups, and makes one of them."""

    def __init__(self, make: Callable[[list[Struct]], Message], deadline_ms: int) -> None:
        """`make` gets the parts in the order in which they were added."""
        self.parts: list[Pending] = []
        self.missing_count = 0
        """Parts without an answer: each is looked at once, not again with every other one."""
        self.parked: Parked | None = None
        self.deadline_ms = deadline_ms
        self._make = make

    def watched(self) -> Sequence[Partition]:
        """No partition, like its parts."""
        return ()

    def poll(self, now: Now) -> Message | None:
        """Return the whole response once every part is there."""
        if self.missing_count:
            return None
        return self._make([part.response for part in self.parts if part.response is not None])

    def expired(self, now: Now) -> Message:
        """Refuse the parts that are missing."""
        return self._make(
            [
                part.response or part.refuse(ErrorCode.COORDINATOR_NOT_AVAILABLE)
                for part in self.parts
            ]
        )


class KnownTopics:
    """The committed topics, as coordinators see them."""

    def __init__(
        self, registry: Registry, is_current: Callable[[], bool], rack: str | None, version: int
    ) -> None:
        """`rack` is this node's; `version` is to be another one at each start, for it is stored."""
        self._registry = registry
        self._is_current = is_current
        self._rack = frozenset(() if rack is None else (rack,))
        self.version = version

    def named(self, name: str) -> Topic | None:
        """Return the topic of that name."""
        return self._registry.topics.get(name)

    def with_id(self, topic_id: TopicId) -> Topic | None:
        """Return the topic of that id."""
        return self._registry.topics_by_id.get(topic_id)

    def is_deleted(self, topic_id: TopicId) -> bool:
        """Whether the topic of that id is known to be gone."""
        return topic_id in self._registry.deleted

    def is_current(self) -> bool:
        """Whether this node follows the whole registry."""
        return self._is_current()

    def names(self) -> Iterable[str]:
        """Return the names of all topics that clients can see."""
        return (name for name in self._registry.topics if not is_hidden(name))

    def racks(self, topic: Topic) -> list[frozenset[str]]:
        """Return the racks of each partition's nodes; as long as there is one node, its own."""
        return [self._rack] * topic.partition_count


class _Seat:
    """What is kept for one partition of the offsets' topic while this node leads it."""

    __slots__ = (
        "asks",
        "coordinator",
        "leadership",
        "loaded_end",
        "partition",
        "prune_at",
        "resting",
        "rests",
    )

    def __init__(self, partition: Partition, coordinator: Coordinator) -> None:
        self.partition = partition
        self.leadership = partition.leadership
        """Under which it sits; it ends with that."""
        self.coordinator = coordinator
        self.loaded_end: Offset | None = partition.log.log_start_offset
        """Where replay goes on; None once all is loaded."""
        self.asks: dict[Pending, None] = {}
        """What its machines have not answered yet."""
        self.rests: dict[str, Offset] = {}
        """Ends of the newest records of groups that may not be committed yet."""
        self.prune_at = PRUNE_COUNT_MIN
        """With so many of them those that are committed go."""
        self.resting: deque[tuple[Offset, int, Pending, Struct]] = deque()
        """Answers that wait for a commit, or for voters to confirm that this is the leader."""


class Coordinators:
    """The coordinators of one node."""

    def __init__(self, broker: Broker, rng: Rng) -> None:
        """None so far: they come with the leadership of their partitions."""
        self._broker = broker
        self._rng = rng
        self._wheel: Wheel[tuple[Coordinator, OnTimer]] = Wheel()
        self._seats: dict[int, _Seat] = {}
        self._loading: dict[int, _Seat] = {}
        """Seats with more to replay at once, by partition."""
        self._paused: dict[int, int] = {}
        """When to load those anew that could not write, by partition."""
        self._seat_of: dict[Coordinator, _Seat] = {}
        self._deleted: set[TopicId] = set()
        self._commits_before = self._rebalances_before = 0
        """Counted by coordinators that are gone."""
        current = broker.registry_shards.is_current
        self.topics = KnownTopics(broker.registry, current, broker.rack, rng.getrandbits(31))

    # Where a group is

    def find(self, group_id: str) -> tuple[_Seat | None, ErrorCode]:
        """Return the seat of a group's coordinator, or why it cannot be asked."""
        topic = self._broker.registry.topics.get(OFFSETS_TOPIC)
        if topic is None:
            return None, ErrorCode.NOT_COORDINATOR
        index = partition_of(group_id, topic.partition_count)
        seat = self._seats.get(index)
        if seat is None:
            return None, ErrorCode.NOT_COORDINATOR
        if seat.loaded_end is not None:
            return seat, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        return seat, ErrorCode.NONE

    def seat(self, index: int) -> Coordinator | None:
        """Return the coordinator of a partition, if it can be asked."""
        seat = self._seats.get(index)
        return None if seat is None or seat.loaded_end is not None else seat.coordinator

    def seats(self) -> Iterator[Coordinator]:
        """Yield the coordinators that can be asked.

        Raises:
            KafkaError: COORDINATOR_LOAD_IN_PROGRESS, one of them still replays its log.
        """
        for seat in self._seats.values():
            if seat.loaded_end is not None:
                raise KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
            yield seat.coordinator

    @property
    def loaded(self) -> list[Coordinator]:
        """Those that have replayed their logs, for pictures of the node."""
        return [seat.coordinator for seat in self._seats.values() if seat.loaded_end is None]

    @property
    def offset_commits_count(self) -> int:
        """Partitions for which an offset was committed here since the start."""
        return self._commits_before + sum(
            seat.coordinator.offsets.commits_count for seat in self._seats.values()
        )

    @property
    def rebalances_count(self) -> int:
        """Generations of classic groups that came to be here since the start."""
        return self._rebalances_before + sum(
            seat.coordinator.classic.statistics().rebalances for seat in self._seats.values()
        )

    @property
    def uncommitted(self) -> list[tuple[Partition, Offset]]:
        """What an answer about all groups rests on."""
        return [
            (seat.partition, seat.partition.log.log_end_offset)
            for seat in self._seats.values()
            if seat.partition.high_watermark < seat.partition.log.log_end_offset
        ]

    def make_topic(self, now: Now) -> tuple[Partition, Offset] | None:
        """Have the offsets' topic made; return what to wait for, None if it is there.

        Raises:
            KafkaError: it cannot be made at the moment.
        """
        broker = self._broker
        if OFFSETS_TOPIC in broker.registry.topics:
            return None
        topic = NewTopic(
            name=OFFSETS_TOPIC,
            partition_count=broker.config.offsets_partitions,
            configs=[
                ("cleanup.policy", "compact"),
                ("compression.type", "producer"),
                ("segment.bytes", str(broker.config.offsets_segment_bytes)),
            ],
        )
        return broker.propose_topic(topic, now)

    # Requests

    def ask(
        self,
        request: Request,
        body: Struct,
        group_id: str,
        call: Call,
        refuse: Refuse,
        *,
        may_wait: bool = False,
        writes: bool = False,
    ) -> Message | Pending:
        """Put a request to a group's coordinator; return its answer, or a waiter for it.

        Args:
            request: what is not in the body.
            body: the request.
            group_id: the group that it is about.
            call: gives the request to the machine.
            refuse: makes the response for an error that is not the machine's.
            may_wait: the machine answers when it sees fit; else only the commit is waited for,
                no longer than offsets.commit.timeout.ms.
            writes: it hardly ever leaves without a record; refused while the disk is full.
        """
        pending = Pending(request, body, refuse, self._deadline_ms(request.now, may_wait))
        if writes and not self._broker.has_room():
            return pending.expired(request.now)
        self._put(pending, group_id, call, request.now)
        if pending.response is None:
            return pending
        assert isinstance(pending.response, Message)
        return pending.response

    def ask_each(
        self,
        request: Request,
        parts: Iterable[tuple[str, Struct, Call, Refuse]],
        make: Callable[[list[Struct]], Message],
    ) -> Message | Gathered:
        """Put the parts of a request to their groups' coordinators; one answer for all.

        Args:
            request: what is not in the parts.
            parts: group, body, call and refusal of each.
            make: the response from the parts' answers, in their order.
        """
        whole = Gathered(make, self._deadline_ms(request.now, may_wait=False))
        for group_id, body, call, refuse in parts:
            pending = Pending(request, body, refuse, whole.deadline_ms, whole)
            whole.parts.append(pending)
            whole.missing_count += 1
            self._put(pending, group_id, call, request.now)
        return whole.poll(request.now) or whole

    def _deadline_ms(self, now: Now, may_wait: bool) -> int:
        return (
            NEVER_MS if may_wait else now.monotonic_ms + self._broker.config.offsets_commit_ms_max
        )

    def _put(self, pending: Pending, group_id: str, call: Call, now: Now) -> None:
        if len(group_id.encode()) > STORED_TEXT_BYTES_MAX:
            # A record that cannot be written would cost all groups of its coordinator a reload.
            pending.settle(pending.refuse(ErrorCode.INVALID_GROUP_ID), now)
            return
        seat, error = self.find(group_id)
        if error or seat is None:
            pending.settle(pending.refuse(error), now)
            return
        seat.asks[pending] = None
        self._turn(seat, lambda turn: call(seat.coordinator, pending, turn), now)

    # Turns

    def _turn(self, seat: _Seat, run: OnTimer, now: Now) -> None:
        """Let a machine have its turn: append what it writes, and pass on what it answers."""
        turn = Turn(now, self._broker.config, self.topics, self._rng, seat.coordinator.image)
        try:
            run(turn)
            end_offset = self._append(seat, turn) if turn.records else 0
        except (KafkaError, DiskError, WireError) as error:
            # What it changed is not in the log, so its state is worth nothing.
            self._load_anew(seat, now, error)
            return
        for group_id in turn.touched:
            seat.rests[group_id] = end_offset
        committed = seat.partition.high_watermark
        for reply in turn.replies:
            pending = reply.ask
            assert isinstance(pending, Pending)
            del seat.asks[pending]
            if reply.group_id is None:
                rests_on = seat.partition.log.log_end_offset
            else:
                rests_on = seat.rests.get(reply.group_id, 0)
            round_ = self._asked(seat, pending)
            if rests_on <= committed and round_ == 0:
                pending.settle(reply.response, now)
            else:
                seat.resting.append((rests_on, round_, pending, reply.response))

    def _asked(self, seat: _Seat, pending: Pending) -> int:
        """Return the round in which voters confirm that this node coordinates; 0: none is needed.

        Only reads are asked of several groups at once, and only reads could tell old news: what
        is written says so by its commit.
        """
        if pending.whole is None:
            return 0
        partition = seat.partition
        group = partition.topic_id, partition.index
        return self._broker.groups.confirming.ask(partition, group)

    def _load_anew(self, seat: _Seat, now: Now, error: Exception) -> None:
        index = seat.partition.index
        if seat.partition.leadership != seat.leadership:
            # Another node leads, or will: nobody must be told what this one knew.
            self._drop(seat, now, ErrorCode.NOT_COORDINATOR)
            return
        log.warning("coordinator %d is loaded anew: %s", index, error)
        self._drop(seat, now, ErrorCode.COORDINATOR_NOT_AVAILABLE)
        self._sit_down(seat.partition)
        # A full disk does not end within milliseconds, and loading costs everybody's time.
        del self._loading[index]
        self._paused[index] = now.monotonic_ms + RELOAD_PAUSE_MS

    def _append(self, seat: _Seat, turn: Turn) -> Offset:
        broker, partition, wall_ms = self._broker, seat.partition, turn.now.wall_ms
        if not partition.takes_writes:
            raise KafkaError(ErrorCode.NOT_COORDINATOR)
        batch = build_batch_of_pairs(turn.records, wall_ms)
        view = memoryview(batch)
        base_offset = broker.append(partition, view, read_batch_header(view), turn.now)
        broker.groups.commit(partition, turn.now.monotonic_ms)
        return base_offset + len(turn.records)

    # Leadership, commits, time

    def led(self, partition: Partition, now: Now) -> None:
        """This node leads a partition of the offsets' topic from now on."""
        before = self._seats.get(partition.index)
        if before is not None:
            self._drop(before, now, ErrorCode.NOT_COORDINATOR)
        self._sit_down(partition)
        if partition.log.log_start_offset == partition.log.log_end_offset:
            self._load(self._seats[partition.index], now)  # Nothing, so it takes no time.

    def _sit_down(self, partition: Partition) -> None:
        seat = _Seat(partition, Coordinator(self._wheel))
        self._seats[partition.index] = self._loading[partition.index] = seat
        self._seat_of[seat.coordinator] = seat

    def advanced(self, partition: Partition, now: Now) -> None:
        """More of a partition is committed, or this node leads it no more."""
        seat = self._seats.get(partition.index)
        if seat is None or seat.partition is not partition:
            return
        if partition.leadership != seat.leadership or partition.gone:
            self._drop(seat, now, ErrorCode.NOT_COORDINATOR)
            return
        if seat.loaded_end is not None:
            if partition.index not in self._paused:
                self._loading[partition.index] = seat
            return
        committed, resting = partition.high_watermark, seat.resting
        confirming = self._broker.groups.confirming
        while resting and resting[0][0] <= committed:
            if not confirming.is_confirmed(partition, resting[0][1]):
                break
            _, _, pending, response = resting.popleft()
            pending.settle(response, now)
        rests = seat.rests
        if committed >= partition.log.log_end_offset:
            rests.clear()
        elif len(rests) >= seat.prune_at:  # With requests at all times it is never all committed.
            seat.rests = {group: end for group, end in rests.items() if end > committed}
            seat.prune_at = max(PRUNE_COUNT_MIN, 2 * len(seat.rests))

    def _drop(self, seat: _Seat, now: Now, error: ErrorCode) -> None:
        """Forget a coordinator; whoever waits for it is to look for another."""
        index = seat.partition.index
        self._commits_before += seat.coordinator.offsets.commits_count
        self._rebalances_before += seat.coordinator.classic.statistics().rebalances
        self._seats.pop(index, None)
        self._loading.pop(index, None)
        self._paused.pop(index, None)
        self._seat_of.pop(seat.coordinator, None)
        waiting = [*seat.asks, *(pending for _, _, pending, _ in seat.resting)]
        seat.asks.clear()
        seat.resting.clear()
        for pending in waiting:
            pending.settle(pending.refuse(error), now)

    def topics_changed(self, deleted: TopicId | None = None) -> None:
        """Topics were made, have grown, or one of this id was deleted."""
        self.topics.version += 1
        if deleted is not None:
            self._deleted.add(deleted)

    def settle(self, now: Now) -> bool:
        """Take note of topics that were deleted in this event; say whether there was any."""
        if not self._deleted:
            return False
        deleted, self._deleted = self._deleted, set()
        for seat in list(self._seats.values()):
            if seat.loaded_end is None:  # One that loads looks for itself.
                run = functools.partial(seat.coordinator.topics_deleted, deleted)
                self._turn(seat, run, now)
        return True

    @property
    def wake_at_ms(self) -> int | None:
        """Monotonic instant at which to call `tick`; it has come while a coordinator loads."""
        if self._loading:
            return 0
        if self._paused:
            return min((*self._paused.values(), self._wheel.next_ms or NEVER_MS))
        return self._wheel.next_ms

    def tick(self, now: Now) -> None:
        """Let timers fire, and load some more."""
        for coordinator, call in self._wheel.due(now.monotonic_ms):
            seat = self._seat_of.get(coordinator)
            if seat is not None:  # Else it was dropped, and its timers mean nothing.
                self._turn(seat, call, now)
        for index, at_ms in list(self._paused.items()):
            if at_ms <= now.monotonic_ms:
                del self._paused[index]
                self._loading[index] = self._seats[index]
        if self._loading:
            self._load(next(iter(self._loading.values())), now)

    def _load(self, seat: _Seat, now: Now) -> None:
        """Replay a piece of the log; so much that other requests do not notice."""
        partition = seat.partition
        offset = seat.loaded_end
        assert offset is not None, "it is loaded"
        image, end_offset = seat.coordinator.image, partition.log.log_end_offset
        try:
            seat.loaded_end = offset = _replay_some(seat, offset)
        except DiskError as error:
            self._load_anew(seat, now, error)
            return
        except LogError as error:
            # Half of it would be the wrong offsets. Whoever deletes the topic begins anew.
            log.error("groups of %s are not served: %s", partition.name, error)
            self._drop(seat, now, ErrorCode.NOT_COORDINATOR)
            return
        if offset < end_offset:
            return
        del self._loading[partition.index]
        # What was inherited counts only once it is committed: another leader might have less.
        if partition.high_watermark >= partition.epoch_start:
            seat.loaded_end = None
            if image.groups:
                log.info("coordinator %d has %d groups", partition.index, len(image.groups))
            self._turn(seat, seat.coordinator.begin, now)


def _replay_some(seat: _Seat, offset: Offset) -> Offset:
    """Replay the next batches from an offset on; return where to go on.

    Raises:
        DamagedLog, CorruptBatch: what stands there is not what was written.
    """
    partition = seat.partition
    kept = partition.log
    # Somebody may have set the topic to lose its beginning; it may do so meanwhile.
    offset = max(offset, kept.log_start_offset)
    for piece in kept.read(offset, COORDINATOR_LOAD_BYTES, kept.log_end_offset):
        for batch in batches(piece.read()):
            header = read_batch_header(batch)
            if not crc_matches(batch):
                raise DamagedLog(kept.directory, header.base_offset, -1, "a batch is altered")
            try:
                for record in read_records(batch):
                    _replay(seat, record)
            except CorruptBatch as error:  # It was sent like that, so by no coordinator.
                log.warning("%s, offset %d: %s", partition.name, header.base_offset, error)
            offset = header.last_offset + 1
    return offset


def _replay(seat: _Seat, record: Record) -> None:
    key = record.key or b""
    offset = decode_offset(key, record.value)
    if offset is not None:
        seat.coordinator.image.replay_offset(*offset)
        return
    try:
        found = decode_untrusted(key, record.value)
    except WireError as error:
        # Clients may write here, as they may with Kafka; what no coordinator wrote is no state.
        log.warning("%s, offset %d: %s", seat.partition.name, record.offset, error)
    else:
        if found is not None:
            seat.coordinator.image.replay(*found)


def wait_for_topic(
    broker: Broker, wait: tuple[Partition, Offset], now: Now, make: Callable[[], Message]
) -> AfterCommit:
    """Answer once the offsets' topic is there and served; or at the deadline, come what may."""

    def served() -> bool:
        topic = broker.registry.topics.get(OFFSETS_TOPIC)
        return topic is not None and broker.serves(topic)

    deadline_ms = now.monotonic_ms + broker.config.offsets_commit_ms_max
    return AfterCommit([wait], deadline_ms, lambda committed, now: make(), served)
