"""What all handlers share: the node's name, the topics, its partitions, and how to change them.

It decides and remembers; it does no input or output but through the logs that it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mesh.broker.coordinators import Coordinators, Gathered, Pending
from mesh.broker.groups import Groups
from mesh.broker.loggers import Loggers
from mesh.broker.owners import NOBODY, Owner
from mesh.broker.partition import Partition
from mesh.broker.purgatory import Deadlines, Parked, Waiter
from mesh.broker.relay import Combined, Relay
from mesh.broker.shards import Shards
from mesh.model.config import BrokerConfig
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.limits import DISK_LOOK_BYTES, DISK_RESERVE_BYTES, RECOVERY_BYTES_MAX
from mesh.model.names import OFFSETS_TOPIC
from mesh.model.types import NodeId, Now, TopicId
from mesh.registry import (
    Change,
    NewTopic,
    Plan,
    Registry,
    Topic,
    plan_create_topic,
    shard_of,
)
from mesh.wire import Message
from mesh.wire.schemas.api_versions import ApiVersion
from storage.disk import DiskError
from storage.records import BatchHeader, Record, build_batch, read_batch_header
from storage.types import Offset


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is, as clients are told."""

    cluster_id: str
    node_id: NodeId
    host: str
    port: int
    rack: str | None
    directory_id: str
    """Of the data directory: a wiped node is another replica."""


CLAIM_MS = 1_000
"""A claim of producer ids from which nothing came is made again after so long."""


class Address(NamedTuple):
    """Where clients find a node."""

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
        groups: Groups,
        *,
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
            groups: runs the groups of all partitions; those of the shards lead.
            log_directory: where the logs lie, as clients are told.
            disk_bytes: size of the disk, and how much more fits on it; raises DiskError.
            changed: carries out what a committed registry record asks for.
        """
        self.cluster_id = identity.cluster_id
        self.node_id = identity.node_id
        self.host = identity.host
        self.port = identity.port
        self.rack = identity.rack
        self.directory_id = identity.directory_id
        self.config = config
        self.registry = registry
        self.shards = list(shards)
        self.registry_shards = Shards(registry, shards)
        self.groups = groups
        self.served_by_all: list[ApiVersion] | None = None
        """What clients may be told that is served; None: what this node serves."""
        self.members: Mapping[NodeId, Address] = {
            identity.node_id: Address(identity.host, identity.port, identity.rack)
        }
        """Nodes that serve clients, by id, this one among them."""
        self.fsync = groups.fsync
        self.partitions: dict[tuple[str, int], Partition] = {}
        self.damaged: dict[tuple[str, int], str] = {}
        """What is not served because its log is damaged, and how; until it is deleted, or mended
        while the node is down."""
        self.deadlines = Deadlines()
        self.loggers: Loggers | None = None
        """Those of the process, if requests may change what they write."""
        self._changed = changed
        self.log_directory = log_directory
        self.disk_bytes = disk_bytes
        self._room_bytes = 0
        """What may be appended before the disk is asked again how much is free."""
        self._producer_ids_claim: tuple[tuple[Partition, Offset], int] | None = None
        self.records_in_count = 0
        self.draining = False
        self.relay = Relay(self)
        self.started_leading: list[Partition] = []
        """Partitions that began to be led here, for whoever steers them."""
        self.coordinators = Coordinators(self, registry.rng)

    # What is where

    def partition(self, topic: str, index: int) -> Partition | None:
        """The partition if this node holds it, whether it leads it or not."""
        return self.partitions.get((topic, index))

    def why_absent(self, topic: str | None, index: int) -> ErrorCode:
        """Return what to say of a partition that is not among ours."""
        if topic is not None and (topic, index) in self.damaged:
            return ErrorCode.KAFKA_STORAGE_ERROR
        known = None if topic is None else self.registry.topics.get(topic)
        if known is not None and 0 <= index < known.partition_count:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER  # Others hold it.
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    def owner(self, topic: Topic, index: int) -> Owner:
        """Return who leads a partition, as clients may be told, and who holds it."""
        partition = self.partitions.get((topic.name, index))
        if partition is not None and partition.topic_id != topic.topic_id:
            partition = None
        if partition is not None and partition.leads:
            replicas = self.groups.replicas(partition)
            in_sync = tuple(one for one in partition.in_sync if one in replicas)
            return Owner(self.node_id, partition.leader_epoch, replicas, in_sync)
        owner = self.groups.owners.get((topic.topic_id, index))
        if owner is None:
            held = () if partition is None else tuple(partition.replicas)
            replicas = held or topic.replicas[index]
            return Owner(NOBODY, -1, replicas, ())
        epoch = -1 if partition is None else partition.group.leader_epoch
        if owner.leader_epoch < epoch or owner.node_id not in self.members:
            return owner._replace(node_id=NOBODY, in_sync=())
        return owner

    def elsewhere(self, topic: str | None, index: int) -> tuple[Owner, Address] | None:
        """Return the other node that leads a partition, and where it is, if that is known."""
        known = None if topic is None else self.registry.topics.get(topic)
        if known is None or not 0 <= index < known.partition_count:
            return None
        owner = self.owner(known, index)
        at = self.members.get(owner.node_id)
        return None if at is None or owner.node_id == self.node_id else (owner, at)

    def serves(self, topic: Topic) -> bool:
        """Whether every partition of a topic has a leader; so, too, if the topic is gone."""
        if topic.topic_id not in self.registry.topics_by_id:
            return True
        return all(self.is_served(topic, index) for index in range(topic.partition_count))

    def is_served(self, topic: Topic, index: int) -> bool:
        """Whether a partition has a leader, or is one that nobody can lead: it is damaged here."""
        damaged = (topic.name, index) in self.damaged
        return damaged or self.owner(topic, index).node_id != NOBODY

    def topic_name(self, topic_id: TopicId) -> str | None:
        """Name of a committed topic id."""
        topic = self.registry.topics_by_id.get(topic_id)
        return None if topic is None else topic.name

    # Producer ids

    def claim_producer_ids(self, now: Now) -> tuple[Partition, Offset]:
        """Ask the registry for a block, once for all that wait; returns what to wait for."""
        claim = self._producer_ids_claim
        if claim is not None:
            (shard, end_offset), until_ms = claim
            pending = shard.high_watermark < end_offset or not end_offset
            if pending and now.monotonic_ms < until_ms:
                return shard, end_offset
        wait = self.propose_anywhere(self.registry.plan_producer_ids(), now)
        self._producer_ids_claim = wait, now.monotonic_ms + CLAIM_MS
        return wait

    # Appends, and how they become committed

    def append(
        self, partition: Partition, batch: memoryview, header: BatchHeader, now: Now
    ) -> Offset:
        """Append one batch, stamped in place, and return its base offset.

        Args:
            partition: takes writes; the caller has asked its group.
            batch: whole and checked.
            header: the batch's.
            now: both clocks.

        Raises:
            DiskError: nothing was appended.
        """
        self._room_bytes -= len(batch)
        self.groups.count(len(batch))
        if self._room_bytes < 0 and partition not in self.registry_shards:
            self._look_for_room(len(batch))
        base_offset = partition.log.append(batch, header, partition.leader_epoch, now.wall_ms)
        self.records_in_count += header.record_count
        partition.bytes_in += len(batch)
        partition.batches_in += 1
        partition.records_in += header.record_count
        self.groups.appended(partition)
        return base_offset

    def has_room(self) -> bool:
        """Whether clients' records are taken at the moment: the disk is not full."""
        if self._room_bytes <= 0:
            try:
                self._look_for_room(0)
            except KafkaError:
                return False
        return True

    def _look_for_room(self, size: int) -> None:
        """Keep a reserve free: the registry, indexes and checkpoints must still be written.

        A full disk is a state, not an end: reads and deletions go on, and it ends by itself.
        """
        free = self.disk_bytes()[1] - DISK_RESERVE_BYTES
        if free <= size:
            raise KafkaError(
                ErrorCode.KAFKA_STORAGE_ERROR,
                "the disk is full but for a reserve; delete something",
            )
        self._room_bytes = min(free, DISK_LOOK_BYTES) - size

    def propose(self, plan: Plan, now: Now) -> tuple[Partition, Offset]:
        """Append a plan's records to its registry shard; the pair is what to wait for.

        Raises:
            KafkaError: this node does not lead the shard, or the disk does not take them.
        """
        shard = self.shards[plan.shard]
        if not self.registry_shards.is_loaded(shard):
            text = "The registry has no leader for this name at the moment."
            raise KafkaError(ErrorCode.NOT_CONTROLLER, text)
        batch = build_batch([Record(0, now.wall_ms, key, value) for key, value in plan.records])
        view = memoryview(batch)
        try:
            base_offset = self.append(shard, view, read_batch_header(view), now)
        except DiskError as error:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, str(error)) from error
        self.registry_shards.appended(shard, base_offset, plan.records)
        return shard, base_offset + len(plan.records)

    def propose_anywhere(self, plan: Plan, now: Now) -> tuple[Partition, Offset]:
        """Propose a plan wherever its shard is led; what it rests on is not known yet then.

        For records that replay alone decides about.

        Raises:
            KafkaError: as `propose`.
        """
        shard = self.shards[plan.shard]
        if self.registry_shards.is_loaded(shard):
            return self.propose(plan, now)
        self.relay.propose(plan, now)
        return shard, 0

    def propose_topic(self, topic: NewTopic, now: Now) -> tuple[Partition, Offset]:
        """Propose a topic that somebody needs, or wait with whoever did; returns what to wait for.

        Raises:
            KafkaError: a topic of this name cannot be made.
        """
        shard = self.shards[shard_of(topic.name)]
        if not self.registry_shards.is_loaded(shard):
            self.relay.create(topic, now)
            return shard, 0
        if topic.name in self.registry.tentative.topics:
            return shard, shard.log.log_end_offset
        return self.propose(plan_create_topic(self.registry, topic, self.config), now)

    def heaviest(self) -> list[Partition]:
        """Return the logs that a restart would check longest, and those that a start repaired.

        Without them no more than RECOVERY_BYTES_MAX are left to check in all. A sync round is to
        take them with their indexes. What was repaired would otherwise wait for the next batch,
        and its snapshots of producers with it, unless the node leads it.
        """
        self.groups.appended_bytes = 0
        everything = (*self.shards, *self.partitions.values())
        heavy = [each for each in everything if each.log.recovery_point < each.log.repaired_end]
        rest = [each for each in everything if each.log.recovery_point >= each.log.repaired_end]
        sizes = [(partition.log.recovery_bytes, partition) for partition in rest]
        left = sum(size for size, _ in sizes)
        for size, partition in sorted(sizes, key=lambda row: -row[0]):
            if left <= RECOVERY_BYTES_MAX:
                break
            heavy.append(partition)
            left -= size
        return heavy

    @property
    def recovery_is_heavy(self) -> bool:
        """Whether so much was appended that indexes and checkpoint should catch up."""
        return self.groups.appended_bytes > RECOVERY_BYTES_MAX

    # Requests that wait

    def park(self, waiter: Waiter, answer: Callable[[Message], None]) -> Parked:
        """Keep a waiter until a partition's progress or its deadline answers it."""
        parked = Parked(waiter, answer)
        if isinstance(waiter, Pending | Gathered | Combined):
            waiter.parked = parked
        self.deadlines.add(waiter.deadline_ms, parked)
        return parked

    def settle(self, now: Now, *, disk_is_quiet: bool) -> None:
        """Carry out committed registry records, then answer whoever waited for a commit.

        While a thread works in partitions' directories the registry's records wait: one of
        them may take a directory away.
        """
        self._settle_groups(now, disk_is_quiet=disk_is_quiet)
        while self.coordinators.settle(now):
            self._settle_groups(now, disk_is_quiet=disk_is_quiet)

    def _settle_groups(self, now: Now, *, disk_is_quiet: bool) -> None:
        groups, shards = self.groups, self.registry_shards
        groups.settle(now.monotonic_ms)
        if not (groups.advanced or groups.led or groups.named):
            return  # As after most events: nothing that anybody here waits for has happened.
        for partition in (*groups.advanced, *groups.led):
            if partition in shards:
                if not partition.leads:
                    shards.ended(partition)
                elif partition in groups.led:
                    shards.led(partition)
        while advanced := [
            partition for partition in groups.advanced if disk_is_quiet or partition not in shards
        ]:
            for partition in advanced:
                del groups.advanced[partition]
            for partition in advanced:
                if partition in shards:
                    for change in shards.replay(partition):
                        self._changed(change, now)
            for partition in advanced:
                if partition.topic == OFFSETS_TOPIC:
                    self.coordinators.advanced(partition, now)
                self.poll(partition, now)
            self._settle_led(now)
        self._settle_led(now)
        self.relay.settle(now)

    def _settle_led(self, now: Now) -> None:
        """Whoever made a topic is answered once it is served."""
        groups = self.groups
        if not groups.led and not groups.named:
            return
        self.started_leading += groups.led
        homes = {shard_of(partition.topic) for partition in groups.led}
        for partition in list(groups.led):
            if partition.topic == OFFSETS_TOPIC:
                self.coordinators.led(partition, now)
        for topic_id, _ in groups.named:
            if (topic := self.registry.topics_by_id.get(topic_id)) is not None:
                homes.add(shard_of(topic.name))
        groups.led.clear()
        groups.named.clear()
        for shard in homes:
            self.poll(self.shards[shard], now)

    def stop_waiting(self, now: Now) -> None:
        """Answer every parked fetch with what there is: the node is about to stop."""
        self.draining = True
        for partition in list(self.partitions.values()):
            self.poll(partition, now)

    def poll(self, partition: Partition, now: Now) -> None:
        """Ask everything parked on a partition whether it is ready."""
        for parked in list(partition.parked):
            parked.poll(now)
