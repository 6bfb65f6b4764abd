"""What all handlers share: the node's name, the topics, its partitions, and how to change them.

It decides and remembers; it does no input or output but through the logs that it holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mesh.broker.loggers import Loggers
from mesh.broker.partition import Partition
from mesh.broker.purgatory import Deadlines, Parked, Waiter
from mesh.model.config import BrokerConfig
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.limits import DISK_LOOK_BYTES, DISK_RESERVE_BYTES, RECOVERY_BYTES_MAX
from mesh.model.types import NodeId, Now, TopicId
from mesh.registry import Change, Plan, RecordPair, Registry
from mesh.wire import Message
from storage.disk import DiskError
from storage.records import BatchHeader, Record, build_batch, read_batch_header
from storage.sync import SyncTicket
from storage.types import Offset


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is, as clients are told."""

    cluster_id: str
    node_id: NodeId
    host: str
    port: int
    rack: str | None


class Broker:
    """The state behind the handlers."""

    def __init__(
        self,
        identity: Identity,
        config: BrokerConfig,
        registry: Registry,
        shards: Sequence[Partition],
        *,
        fsync: bool,
        log_directory: str,
        disk_bytes: Callable[[], tuple[int, int]],
        changed: Callable[[Change, Now], None],
    ) -> None:
        """A broker without partitions of topics.

        Args:
            identity: what clients are told.
            config: settings of the node; dynamic changes replace it.
            registry: the images that `shards` were replayed into.
            shards: the registry's own partitions, in order.
            fsync: whether committed means on disk (`--durability disk`).
            log_directory: where the logs lie, as clients are told.
            disk_bytes: size of the disk, and how much more fits on it; raises DiskError.
            changed: carries out what a committed registry record asks for.
        """
        self.cluster_id = identity.cluster_id
        self.node_id = identity.node_id
        self.host = identity.host
        self.port = identity.port
        self.rack = identity.rack
        self.config = config
        self.registry = registry
        self.shards = list(shards)
        self.fsync = fsync
        self.partitions: dict[tuple[str, int], Partition] = {}
        self.deadlines = Deadlines()
        self.loggers: Loggers | None = None
        """Those of the process, if requests may change what they write."""
        self._changed = changed
        self.log_directory = log_directory
        self.disk_bytes = disk_bytes
        self._appended_bytes = 0
        self._room_bytes = 0
        """What may be appended before the disk is asked again how much is free."""
        self._dirty: dict[Partition, None] = {}
        self._advanced: dict[Partition, None] = {}
        self._producer_ids_claim: tuple[Partition, Offset] | None = None
        self.records_in_count = 0
        self.draining = False
        self._unreplayed: dict[Partition, deque[tuple[Offset, RecordPair]]] = {
            shard: deque() for shard in self.shards
        }

    # What is where

    def partition(self, topic: str, index: int) -> Partition | None:
        """The partition if it exists and this node leads it."""
        return self.partitions.get((topic, index))

    def topic_name(self, topic_id: TopicId) -> str | None:
        """Name of a committed topic id."""
        topic = self.registry.topics_by_id.get(topic_id)
        return None if topic is None else topic.name

    # Producer ids

    def claim_producer_ids(self, now: Now) -> tuple[Partition, Offset]:
        """Ask the registry for a block, once for all that wait; returns what to wait for."""
        shard, end_offset = self._producer_ids_claim or (None, 0)
        if shard is None or shard.high_watermark >= end_offset:
            self._producer_ids_claim = self.propose(self.registry.plan_producer_ids(), now)
        assert self._producer_ids_claim is not None
        return self._producer_ids_claim

    # Appends, and how they become committed

    def append(
        self, partition: Partition, batch: memoryview, header: BatchHeader, now: Now
    ) -> Offset:
        """Append one batch, stamped in place, and return its base offset.

        Raises:
            DiskError: nothing was appended.
        """
        self._room_bytes -= len(batch)
        self._appended_bytes += len(batch)
        if self._room_bytes < 0 and partition not in self._unreplayed:
            self._look_for_room(len(batch))
        base_offset = partition.log.append(batch, header, partition.leader_epoch, now.wall_ms)
        self._dirty[partition] = None
        self.records_in_count += header.record_count
        partition.bytes_in += len(batch)
        partition.batches_in += 1
        partition.records_in += header.record_count
        if not self.fsync and partition.committed_up_to(partition.log.log_end_offset):
            self._advanced[partition] = None
        return base_offset

    def _look_for_room(self, size: int) -> None:
        """Keep a reserve free: the registry, indexes and checkpoints must still be written.

        A full disk is a state, not an end: reads and deletions go on, and it ends by itself.
        """
        free = self.disk_bytes()[1] - DISK_RESERVE_BYTES
        if free < size:
            raise KafkaError(
                ErrorCode.KAFKA_STORAGE_ERROR,
                "the disk is full but for a reserve; delete something",
            )
        self._room_bytes = min(free, DISK_LOOK_BYTES) - size

    def propose(self, plan: Plan, now: Now) -> tuple[Partition, Offset]:
        """Append a plan's records to its registry shard; the pair is what to wait for.

        Raises:
            KafkaError: the disk does not take them.
        """
        shard = self.shards[plan.shard]
        batch = build_batch([Record(0, now.wall_ms, key, value) for key, value in plan.records])
        view = memoryview(batch)
        try:
            base_offset = self.append(shard, view, read_batch_header(view), now)
        except DiskError as error:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, str(error)) from error
        self.registry.appended(plan.shard, base_offset, plan.records)
        self._unreplayed[shard].extend(enumerate(plan.records, base_offset))
        return shard, base_offset + len(plan.records)

    def begin_sync(self, *, indexes: bool = False) -> list[tuple[Partition, SyncTicket]]:
        """Take all partitions with unsynced appends into one round.

        Args:
            indexes: take indexes along, of the logs that a restart would check longest, until
                no more than RECOVERY_BYTES_MAX are left to check in all.
        """
        dirty, self._dirty = self._dirty, {}
        heavy: dict[Partition, None] = {}
        if indexes:
            heavy = self._heaviest()
            self._appended_bytes = 0
        tickets = (
            (partition, partition.log.begin_sync(indexes=partition in heavy))
            for partition in {**dirty, **heavy}
        )
        return [(partition, ticket) for partition, ticket in tickets if ticket is not None]

    def _heaviest(self) -> dict[Partition, None]:
        everything = (*self.shards, *self.partitions.values())
        sizes = [(partition.log.recovery_bytes, partition) for partition in everything]
        left = sum(size for size, _ in sizes)
        heavy: dict[Partition, None] = {}
        for size, partition in sorted(sizes, key=lambda row: -row[0]):
            if left <= RECOVERY_BYTES_MAX:
                break
            heavy[partition] = None
            left -= size
        return heavy

    @property
    def recovery_is_heavy(self) -> bool:
        """Whether so much was appended that indexes and checkpoint should catch up."""
        return self._appended_bytes > RECOVERY_BYTES_MAX

    def finish_sync(self, round_: Sequence[tuple[Partition, SyncTicket]]) -> None:
        """Note that a round is on disk: the single voter's quorum has it."""
        for partition, ticket in round_:
            partition.log.finish_sync(ticket)
            if self.fsync and partition.committed_up_to(partition.log.synced_end):
                self._advanced[partition] = None

    def forget(self, partition: Partition) -> None:
        """The partition's topic is gone: what it appended need not be synced any more."""
        self._dirty.pop(partition, None)
        self._advanced.pop(partition, None)

    @property
    def has_unsynced(self) -> bool:
        """Whether a sync round would have something to do."""
        return bool(self._dirty)

    @property
    def unsynced_count(self) -> int:
        """Partitions with appends that no round has taken yet."""
        return len(self._dirty)

    # Requests that wait

    def park(self, waiter: Waiter, answer: Callable[[Message], None]) -> Parked:
        """Keep a waiter until a partition's progress or its deadline answers it."""
        parked = Parked(waiter, answer)
        self.deadlines.add(waiter.deadline_ms, parked)
        return parked

    def settle(self, now: Now, *, disk_is_quiet: bool) -> None:
        """Carry out committed registry records, then answer whoever waited for a commit.

        While a thread works in partitions' directories the registry's records wait: one of
        them may take a directory away.
        """
        while advanced := [
            partition
            for partition in self._advanced
            if disk_is_quiet or partition not in self._unreplayed
        ]:
            for partition in advanced:
                del self._advanced[partition]
            for partition in advanced:
                for change in self._replay(partition):
                    self._changed(change, now)
            for partition in advanced:
                self.poll(partition, now)

    def stop_waiting(self, now: Now) -> None:
        """Answer every parked fetch with what there is: the node is about to stop."""
        self.draining = True
        for partition in list(self.partitions.values()):
            self.poll(partition, now)

    def poll(self, partition: Partition, now: Now) -> None:
        """Ask everything parked on a partition whether it is ready."""
        for parked in list(partition.parked):
            parked.poll(now)

    def _replay(self, partition: Partition) -> Iterator[Change]:
        unreplayed = self._unreplayed.get(partition)
        if unreplayed is None:
            return
        while unreplayed and unreplayed[0][0] < partition.high_watermark:
            offset, record = unreplayed.popleft()
            yield from self.registry.committed(partition.index, offset, record)
