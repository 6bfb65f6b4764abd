"""From a data directory to a node that can serve: identity, registry, logs.

Blocking, and before anything is served. Recovery is replay: the registry's own logs first, then a
log for every partition that it knows.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Collection
from dataclasses import dataclass

from mesh.broker.broker import Identity
from mesh.broker.groups import Groups, RunAll
from mesh.broker.partition import Partition, log_config
from mesh.broker.stored_promises import from_stored
from mesh.links import Links
from mesh.model.config import BrokerConfig, TopicConfig
from mesh.model.names import REGISTRY_TOPIC, REGISTRY_TOPIC_ID
from mesh.model.types import Now, ReplicaId, TopicId
from mesh.node.core import Node
from mesh.node.introductions import Introductions
from mesh.node.options import Address, NodeOptions
from mesh.node.replicas import open_replica
from mesh.node.store import Store
from mesh.registry import MESH_SHARD, SHARD_COUNT, Registry, TopicDeleted
from mesh.replication import Promise, Replica, learner_promise
from mesh.replication import standing as st
from mesh.runtime.together import run_together
from storage.errors import JournalDamaged
from storage.journal import FILE_NAME, Journal
from storage.meta import Meta

log = logging.getLogger("mesh.node")

FOUNDER_ID = 1
"""Node id of whoever founded the mesh, and made the groups of its registry."""


def open_node(
    store: Store,
    meta: Meta,
    options: NodeOptions,
    advertised: Address,
    rng: random.Random,
    now: Now,
    boot_id: bytes,
    *,
    start: int = 1,
    alone: bool = True,
    together: RunAll = run_together,
) -> Node:
    """Open every log, elect where nobody else votes, replay what of the registry is committed.

    Args:
        store: the logs.
        meta: who the data directory belongs to.
        options: what the node was told.
        advertised: what clients are told.
        rng: dice.
        now: both clocks.
        boot_id: 16 bytes; the same as long as the machine is not started anew.
        start: number of this start of the node, durable.
        alone: whether there is no other member; else the node takes part in nothing until one
            has answered it.
        together: runs blocking calls side by side.

    Raises:
        JournalError: what this node promised is not known for certain.
        DamagedLog, DiskError: a log cannot be used.
        DamagedRecordError: the registry holds what is no record of its.
        UnfitNodeError: the registry says that this node must not be a member.
    """
    opening = _Opening(store, meta, options, advertised, rng, boot_id, start, alone, together)
    return opening.node(now)


@dataclass
class _Opening:
    """What the steps of opening share."""

    store: Store
    meta: Meta
    options: NodeOptions
    advertised: Address
    rng: random.Random
    boot_id: bytes
    start: int
    alone: bool
    together: RunAll

    def node(self, now: Now) -> Node:
        config = BrokerConfig.from_mapping(self.options.config, self._facts())
        directory_id = str(self.meta.directory_id)
        registry = Registry(ReplicaId(self.meta.node_id, directory_id), self.rng)
        groups, introductions = self._open_groups()
        promises = [self._promise(groups, index) for index in range(SHARD_COUNT)]
        shards = [self._open_shard(index, promise) for index, promise in enumerate(promises)]
        was_behind = self.store.sync_recovered(self.together)
        for shard, promise in zip(shards, promises, strict=True):
            known = self.store.high_watermarks.get((shard.topic, shard.index), 0)
            groups.add(shard, promise, now.monotonic_ms, known)
        groups.pump(self.together, now.monotonic_ms)
        node = Node(
            Identity(
                cluster_id=str(self.meta.cluster_id),
                node_id=self.meta.node_id,
                host=self.advertised.host,
                port=self.advertised.port,
                rack=self.options.rack,
                directory_id=directory_id,
            ),
            config,
            registry,
            shards,
            groups,
            self.store,
            introductions,
        )
        deleted: set[TopicId] = set()
        for shard in shards:
            if shard.leads:
                node.broker.registry_shards.led(shard)
            for change in node.broker.registry_shards.replay(shard):
                if isinstance(change, TopicDeleted):
                    deleted.add(change.topic.topic_id)
        registry.check_fitness()
        self._tidy(groups, registry, deleted)  # That they are deleted is on the disk.
        node.open_partitions(now)
        if self.store.sync_recovered(self.together) or was_behind:
            # Or a node that crashes again and again has more to check each time.
            self.store.checkpoint()()
        groups.pump(self.together, now.monotonic_ms)
        if directory_id not in registry.node_ids and node.broker.registry_shards.is_loaded(
            shards[MESH_SHARD]
        ):
            plan = registry.plan_node_id(directory_id, self.meta.node_id)
            node.broker.propose(plan, now)
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

    def _open_groups(self) -> tuple[Groups, Introductions]:
        """Open the promise journal, and have it say how this start runs."""
        store, directory_id = self.store, self.meta.directory_id
        journal = Journal.open(store.disk, store.directory, directory_id.bytes)
        for warning in journal.warnings:
            log.warning("%s", warning)
        found = st.Mark(self.start - 1, journal.round)
        facts, fsync = journal.facts, self.options.durability == "disk"
        if facts.memory and not facts.clean and facts.boot_id != self.boot_id:
            # What was acknowledged from the page cache may be gone with it.
            log.warning("the machine went down while acknowledgements did not wait for the disk")
            for group, promise in journal.promises.items():
                if not promise.tombstone:
                    journal.put(group, promise._replace(unsure=True))
        journal.put_facts(memory=not fsync, boot_id=self.boot_id)
        ticket = journal.begin_round()
        assert ticket is not None, "the facts of a start are always written"
        ticket.run()
        journal.finish_round(ticket)
        me = Replica(self.meta.node_id, str(directory_id))
        standing = st.Standing(
            found=found,
            mark=st.Mark(self.start, journal.round),
            alone=self.alone,
            known=store.read_marks(),
        )
        introductions = Introductions(
            self.meta.cluster_id.bytes,
            self.meta.node_id,
            directory_id.bytes,
            standing,
            lambda: journal.round,
        )
        links = Links(self.meta.node_id, lambda: introductions.mark)
        groups = Groups(me, journal, self.rng, fsync=fsync, links=links, admitted=self.alone)
        return groups, introductions

    def _promise(self, groups: Groups, index: int) -> Promise:
        held = groups.journal.promises.get((REGISTRY_TOPIC_ID, index))
        if held is None:
            if self.meta.node_id != FOUNDER_ID:
                return learner_promise()  # Whoever leads it takes this node in.
            path = f"{self.store.directory}/{FILE_NAME}"
            raise JournalDamaged(path, 0, f"it holds no promise of the registry's shard {index}")
        return from_stored(held)

    def _open_shard(self, index: int, promise: Promise) -> Partition:
        """Open one of the registry's own partitions."""
        config = TopicConfig(retention_ms=-1)
        shard_log = open_replica(
            self.store,
            (REGISTRY_TOPIC, index, REGISTRY_TOPIC_ID),
            promise,
            log_config(config, BrokerConfig()),
            Replica(self.meta.node_id, str(self.meta.directory_id)),
        )
        node_id = self.meta.node_id
        return Partition(REGISTRY_TOPIC, REGISTRY_TOPIC_ID, index, shard_log, config, node_id)

    def _tidy(self, groups: Groups, registry: Registry, deleted: Collection[TopicId]) -> None:
        """Remove what deleted topics left, and move aside what belongs to no topic."""
        promised = list(groups.journal.promises)
        for group in promised:
            if group[0] in deleted:
                groups.journal.remove(group)
        expected = {(REGISTRY_TOPIC, index): REGISTRY_TOPIC_ID for index in range(SHARD_COUNT)}
        for topic in registry.topics.values():
            for index in range(topic.partition_count):
                expected[topic.name, index] = topic.topic_id
        self.store.tidy(expected, deleted, frozenset(promised))
