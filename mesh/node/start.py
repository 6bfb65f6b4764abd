"""From a data directory to a node that can serve: identity, registry, logs.

Blocking, and before anything is served. Recovery is replay: the registry's own logs first, then a
log for every partition that it knows.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from mesh.broker.broker import Identity
from mesh.broker.partition import Partition, log_config
from mesh.model.config import BrokerConfig, TopicConfig
from mesh.model.names import REGISTRY_TOPIC, REGISTRY_TOPIC_ID
from mesh.model.types import Now, ReplicaId, TopicId
from mesh.node.core import Node
from mesh.node.options import Address, NodeOptions
from mesh.node.store import Store, keep_directories, run_together
from mesh.registry import SHARD_COUNT, RecordPair, Registry, TopicDeleted, plan_founding
from mesh.version import VERSION
from storage.meta import Meta, read_meta, write_meta
from storage.records import Record, batches, read_records

if TYPE_CHECKING:
    from storage.disk import Disk

log = logging.getLogger("mesh.node")

FOUNDER_ID = 1
"""Node id of whoever founds a mesh."""
READ_BYTES = 1 << 20
HARMLESS = {".lock", "lost+found", "meta.toml.tmp"}
"""Names that do not make a directory somebody else's; the last one is of a founding that was cut
short."""


class ForeignDirectoryError(Exception):
    """The data directory holds something, and none of it is ours."""

    def __init__(self, directory: str, example: str) -> None:
        super().__init__(f"{directory} is not empty and holds no meta.toml (but {example})")
        self.directory = directory


def identify(disk: Disk, directory: str, entropy: Callable[[int], bytes]) -> Meta:
    """Return who the directory belongs to; an empty one founds a mesh of one.

    Raises:
        BadMeta: it is of a newer format, or damaged.
        ForeignDirectoryError: it is full of something else.
        DiskError: it cannot be read or written.
    """
    meta = read_meta(disk, directory)
    if meta is not None:
        return meta
    others = [name for name in disk.list_directory(directory) if name not in HARMLESS]
    if others:
        raise ForeignDirectoryError(directory, others[0])
    founded = Meta(
        cluster_id=UUID(bytes=entropy(16), version=4),
        directory_id=UUID(bytes=entropy(16), version=4),
        node_id=FOUNDER_ID,
        version=VERSION,
    )
    keep_directories(disk, directory)  # Before anything in it is called durable.
    write_meta(disk, directory, founded)
    log.info("founded a mesh of one", extra={"cluster_id": str(founded.cluster_id)})
    return founded


def open_node(
    store: Store,
    meta: Meta,
    options: NodeOptions,
    advertised: Address,
    rng: random.Random,
    now: Now,
) -> Node:
    """Open every log, replay the registry, and return a node that is ready for its first event.

    Raises:
        DamagedLog, DiskError: a log cannot be used.
        DamagedRecordError: the registry holds what is no record of its.
        UnfitNodeError: the registry says that this node must not be a member.
    """
    return _Opening(store, meta, options, advertised, rng).node(now)


@dataclass
class _Opening:
    """What the steps of opening share."""

    store: Store
    meta: Meta
    options: NodeOptions
    advertised: Address
    rng: random.Random

    def node(self, now: Now) -> Node:
        config = BrokerConfig.from_mapping(self.options.config, self._facts())
        directory_id = str(self.meta.directory_id)
        self.registry = Registry(ReplicaId(self.meta.node_id, directory_id), self.rng)
        self.deleted: set[TopicId] = set()
        shards = [self._open_shard(index) for index in range(SHARD_COUNT)]
        self.registry.check_fitness()
        node = Node(
            Identity(
                cluster_id=str(self.meta.cluster_id),
                node_id=self.meta.node_id,
                host=self.advertised.host,
                port=self.advertised.port,
                rack=self.options.rack,
            ),
            config,
            self.registry,
            shards,
            self.store,
            fsync=self.options.durability == "disk",
        )
        # Before directories go, for a crash must not take back why they went.
        was_behind = self.store.sync_recovered(run_together)
        self._tidy()
        node.open_partitions()
        if self.store.sync_recovered(run_together) or was_behind:
            # Or a node that crashes again and again has more to check each time.
            self.store.checkpoint()()
        if directory_id not in self.registry.node_ids:
            plan = self.registry.plan_node_id(directory_id, self.meta.node_id)
            node.broker.propose(plan, now)
        if (founding := plan_founding(self.registry)).records:
            node.broker.propose(founding, now)
        return node

    def _facts(self) -> dict[str, str]:
        facts = {
            "node.id": str(self.meta.node_id),
            "broker.id": str(self.meta.node_id),
            "listeners": f"PLAINTEXT://{self.options.listen}",
            "advertised.listeners": f"PLAINTEXT://{self.advertised}",
            "log.dirs": self.store.directory,
            "log.dir": self.store.directory,
            "gossamer.durability": self.options.durability,
        }
        return facts if self.options.rack is None else {**facts, "broker.rack": self.options.rack}

    def _open_shard(self, index: int) -> Partition:
        """Open one of the registry's own partitions and replay it."""
        config = TopicConfig(retention_ms=-1)
        shard_log = self.store.open_log(
            REGISTRY_TOPIC, index, REGISTRY_TOPIC_ID, log_config(config, BrokerConfig())
        )
        shard = Partition(
            REGISTRY_TOPIC, REGISTRY_TOPIC_ID, index, shard_log, config, self.meta.node_id
        )
        for record in _records(shard):
            pair = RecordPair(record.key or b"", record.value or b"")
            for change in self.registry.committed(index, record.offset, pair):
                if isinstance(change, TopicDeleted):
                    self.deleted.add(change.topic.topic_id)
        return shard

    def _tidy(self) -> None:
        """Remove what deleted topics left, and move aside what belongs to no topic."""
        expected = {(REGISTRY_TOPIC, index): REGISTRY_TOPIC_ID for index in range(SHARD_COUNT)}
        for topic in self.registry.topics.values():
            for index in range(topic.partition_count):
                expected[topic.name, index] = topic.topic_id
        self.store.tidy(expected, self.deleted)


def _records(shard: Partition) -> Iterator[Record]:
    """Yield all committed records of a partition."""
    offset = shard.log.log_start_offset
    while offset < shard.high_watermark:
        for piece in shard.log.read(offset, READ_BYTES, shard.high_watermark):
            for batch in batches(piece.read()):
                for record in read_records(batch):
                    yield record
                    offset = record.offset + 1
