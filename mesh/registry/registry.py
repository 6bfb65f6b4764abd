"""The registry of one node: two images of the same records, and what has been claimed from it.

`tentative` replays records as they are appended, so that the next request sees them and of two
creates of one name one wins; `committed` replays them as the high watermark passes, and is what
everybody reads. A record is decoded once and what it holds is shared by both images.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import xxhash

from mesh.model.errors import KafkaError
from mesh.model.names import collision_key
from mesh.model.types import NodeId, TopicId
from mesh.registry.image import Change, Image, ProducerIdsClaimed
from mesh.registry.records import (
    AddPartitions,
    AlterTopicConfig,
    ClaimNodeId,
    ClaimProducerIds,
    CreateTopic,
    DamagedRecordError,
    DeleteTopic,
    Record,
    RecordPair,
    decode_untrusted,
    encode,
)
from mesh.registry.topic import Topic
from storage.types import Offset

SHARD_COUNT = 8
"""Partitions of the registry's topic; never changed, since names are hashed over them."""

MESH_SHARD = 0
"""Holds what belongs to the whole mesh: node ids, producer ids, settings of brokers."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Records for one shard; none if nothing is to change."""

    shard: int
    records: list[RecordPair]
    topic: Topic | None = None
    """The topic as it will be, or as it was, where the plan is about one."""


class Rng(Protocol):
    """The part of random.Random that is used here."""

    def getrandbits(self, k: int, /) -> int:
        """Return k random bits."""


def shard_of(name: str) -> int:
    """Return the shard of a topic's records.

    The collision key is hashed, not the name: names that must not both exist (`a.b`, `a_b`)
    share a shard, so that its one order of records decides between them.
    """
    return xxhash.xxh3_64_intdigest(collision_key(name).encode()) % SHARD_COUNT


class Registry:
    """What this node knows of the mesh's topics, settings and claims."""

    def __init__(self, node_id: NodeId, rng: Rng) -> None:
        """An empty one; the shards' records follow through `appended` and `committed`."""
        self.node_id = node_id
        self.nodes: tuple[NodeId, ...] = (node_id,)
        """Nodes that can hold replicas, sorted; a mesh of one for now."""
        self.start = rng.getrandbits(63)
        """Tells our claims of producer ids from those of earlier starts."""
        self.rng = rng
        self.tentative = Image()
        self._committed = Image()
        self._uncommitted: list[deque[tuple[Offset, Record]]] = [
            deque() for _ in range(SHARD_COUNT)
        ]
        self._producer_ids: deque[range] = deque()
        self.topics: Mapping[str, Topic] = MappingProxyType(self._committed.topics)
        """Committed topics by name."""
        self.topics_by_id: Mapping[TopicId, Topic] = MappingProxyType(self._committed.topics_by_id)
        self.broker_configs: Mapping[str, Mapping[str, str]] = MappingProxyType(
            self._committed.broker_configs
        )
        """Committed values set at runtime, by node id as text; the empty one is for all."""
        self.node_ids: Mapping[str, NodeId] = MappingProxyType(self._committed.node_ids)
        """Committed node ids by directory id."""

    def appended(self, shard: int, base_offset: Offset, records: Sequence[RecordPair]) -> None:
        """Replay records that were appended to a shard, not committed yet.

        Raises:
            DamagedRecordError: one of them is none; those before it are replayed.
        """
        for offset, pair in enumerate(records, base_offset):
            record = decode_untrusted(shard, offset, pair)
            if (home := _home_of(record)) != shard:
                raise DamagedRecordError(shard, offset, f"it belongs to shard {home}")
            self._uncommitted[shard].append((offset, record))
            try:
                self.tentative.replay(offset, record)
            except KafkaError:
                pass  # It came too late for its name or id, and changes nothing anywhere.

    def committed(self, shard: int, offset: Offset, pair: RecordPair) -> list[Change]:
        """Replay a record that the high watermark has passed; return what to carry out.

        A record that was not given to `appended` (at the start) is given to it first.

        Raises:
            DamagedRecordError: it is none.
        """
        if not self._uncommitted[shard]:
            self.appended(shard, offset, [pair])
        appended_offset, record = self._uncommitted[shard].popleft()
        assert appended_offset == offset, f"shard {shard}: {offset} follows {appended_offset}"
        try:
            change = self._committed.replay(offset, record)
        except KafkaError:
            return []
        if isinstance(change, ProducerIdsClaimed) and change.start == self.start:
            self._producer_ids.append(range(change.first_id, change.first_id + change.count))
        return [change]

    def plan_producer_ids(self) -> Plan:
        """Plan a claim of a block of producer ids for this start."""
        return Plan(MESH_SHARD, [encode(ClaimProducerIds(self.node_id, self.start))])

    def plan_node_id(self, directory_id: str, wanted: NodeId | None = None) -> Plan:
        """Plan a directory's claim of a node id; None asks for one never given."""
        return Plan(MESH_SHARD, [encode(ClaimNodeId(directory_id, wanted))])

    def take_producer_id(self) -> int | None:
        """Return a producer id never given before; None: claim a block first."""
        while self._producer_ids:
            block = self._producer_ids[0]
            if block:
                self._producer_ids[0] = block[1:]
                return block[0]
            self._producer_ids.popleft()
        return None


def _home_of(record: Record) -> int:
    match record:
        case CreateTopic(topic):
            return shard_of(topic.name)
        case DeleteTopic(name) | AddPartitions(name) | AlterTopicConfig(name):
            return shard_of(name)
        case _:
            return MESH_SHARD
