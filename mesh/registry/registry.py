"""The registry of one node: two images of the same records, and what has been claimed from it.

`tentative` replays records as they are appended, so that the next request sees them and of two
creates of one name one wins; `committed` replays them as the high watermark passes, and is what
everybody reads. A record is decoded once and what it holds is shared by both images.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import xxhash

from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.names import collision_key
from mesh.model.types import NodeId, ReplicaId, TopicId
from mesh.registry.image import Change, Features, Image, ProducerIdsClaimed
from mesh.registry.records import (
    AddPartitions,
    AlterBrokerConfig,
    AlterTopicConfig,
    AssignReplicas,
    ClaimNodeId,
    ClaimProducerIds,
    CreateTopic,
    DamagedRecordError,
    DeleteTopic,
    Record,
    RecordPair,
    SetFeature,
    decode_untrusted,
    encode,
)
from mesh.registry.topic import Topic
from storage.types import Offset

SHARD_COUNT = 8
"""Partitions of the registry's topic; never changed, since names are hashed over them."""

MESH_SHARD = 0
"""Holds what belongs to the whole mesh: node ids, producer ids, settings of brokers, features."""

FORMAT_FEATURE = "gossamer.format"
"""The feature that says which formats, on disk and between nodes, the mesh uses."""

GROUP_FEATURE = "group.version"
"""Kafka's feature for groups: at level 1 there are groups by KIP-848."""

SUPPORTED_FEATURES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {FORMAT_FEATURE: (1, 1), GROUP_FEATURE: (0, 1)}
)
"""Lowest and highest level of each feature at which this release can be a member."""


class UnfitNodeError(Exception):
    """This node cannot be a member of the mesh that its registry describes.

    The one argument says why, and what to do.
    """


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


Choose = Callable[[str, Sequence[int], int], Sequence[tuple[NodeId, ...]]]
"""From a topic, the indexes of new partitions and their number of replicas to those replicas."""


def shard_of(name: str) -> int:
    """Return the shard of a topic's records.

    The collision key is hashed, not the name: names that must not both exist (`a.b`, `a_b`)
    share a shard, so that its one order of records decides between them.
    """
    return xxhash.xxh3_64_intdigest(collision_key(name).encode()) % SHARD_COUNT


class Registry:
    """What this node knows of the mesh's topics, settings and claims."""

    def __init__(self, own: ReplicaId, rng: Rng) -> None:
        """An empty one; the shards' records follow through `appended` and `committed`."""
        self.own = own
        self.members: Mapping[NodeId, str] = MappingProxyType({own.node_id: own.directory_id})
        """Directory id of each node that can hold replicas, by node id."""
        self.choose: Choose = self._spread
        """Picks the nodes of new partitions, of which the first should lead."""
        self.start = rng.getrandbits(63)
        """Tells our claims of producer ids from those of earlier starts."""
        self.rng = rng
        self.tentative = Image(own)
        self._committed = Image(own)
        self._uncommitted: list[deque[tuple[Offset, Record]]] = [
            deque() for _ in range(SHARD_COUNT)
        ]
        self.replayed_ends: list[Offset] = [0] * SHARD_COUNT
        """Below it every record of the shard is in the committed image, by shard."""
        self._producer_ids: deque[range] = deque()
        self.topics: Mapping[str, Topic] = MappingProxyType(self._committed.topics)
        """Committed topics by name."""
        self.topics_by_id: Mapping[TopicId, Topic] = MappingProxyType(self._committed.topics_by_id)
        self.deleted: Collection[TopicId] = self._committed.deleted.keys()
        """Topics whose deletion is committed; the newest 100,000."""
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
            # One that comes too late for its name or id changes nothing anywhere.
            with contextlib.suppress(KafkaError):
                self.tentative.replay(offset, record)

    def truncated(self, shard: int, end_offset: Offset) -> None:
        """Forget what was appended from `end_offset` on: another leader's records take its place.

        Nothing of it was committed, so nobody but the tentative image has seen it.
        """
        uncommitted = self._uncommitted[shard]
        while uncommitted and uncommitted[-1][0] >= end_offset:
            uncommitted.pop()
        self.tentative = self._committed.copy()
        for records in self._uncommitted:
            for offset, record in records:
                with contextlib.suppress(KafkaError):
                    self.tentative.replay(offset, record)

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
        self.replayed_ends[shard] = offset + 1
        try:
            change = self._committed.replay(offset, record)
        except KafkaError:
            return []
        if isinstance(change, ProducerIdsClaimed) and change.start == self.start:
            self._producer_ids.append(range(change.first_id, change.first_id + change.count))
        return [change]

    def home_of(self, records: Sequence[RecordPair]) -> int:
        """Return the shard that these records belong to.

        Raises:
            KafkaError: they are no records, or of several shards.
        """
        try:
            homes = {_home_of(decode_untrusted(MESH_SHARD, 0, pair)) for pair in records}
        except DamagedRecordError as error:
            raise KafkaError(ErrorCode.INVALID_REQUEST, str(error)) from error
        if len(homes) != 1:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "records of several shards")
        return homes.pop()

    def _spread(
        self, topic: str, indexes: Sequence[int], count: int
    ) -> Sequence[tuple[NodeId, ...]]:
        """Give each partition nodes in turn, beginning with another one each time."""
        del topic
        nodes = self.nodes
        return [
            tuple(nodes[(index + place) % len(nodes)] for place in range(count))
            for index in indexes
        ]

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """Nodes that can hold replicas, sorted."""
        return tuple(sorted(self.members))

    @property
    def features(self) -> Features:
        """Committed levels of features, with the epoch of the last change."""
        return self._committed.features

    def check_fitness(self) -> None:
        """Refuse to go on where this node must not be a member; for a start, and for a change.

        Raises:
            UnfitNodeError: a feature is at a level that this release does not support, or
                another directory holds this node's id, or this directory another id.
        """
        for name, level in sorted(self.features.levels.items()):
            low, high = SUPPORTED_FEATURES.get(name, (0, 0))
            if not low <= level <= high:
                knows = f"supports {low} to {high}" if high else "does not know that feature"
                raise UnfitNodeError(
                    f"the mesh uses level {level} of {name}, and this release {knows}: "
                    "it takes the release that set that level, or a later one"
                )
        node_id, directory_id = self.own
        claimed = self.node_ids.get(directory_id, node_id)
        if claimed != node_id:
            text = f"this directory has node id {claimed} in the mesh, and calls itself {node_id}"
            raise UnfitNodeError(text)
        holder = self._committed.holder_of(node_id)
        if holder not in (None, directory_id):
            raise UnfitNodeError(
                f"node id {node_id} belongs to directory {holder}, and this one is {directory_id}: "
                "an id is never given twice"
            )

    def plan_producer_ids(self) -> Plan:
        """Plan a claim of a block of producer ids for this start."""
        return Plan(MESH_SHARD, [encode(ClaimProducerIds(self.own.node_id, self.start))])

    def plan_node_id(self, directory_id: str, wanted: NodeId | None = None) -> Plan:
        """Plan a directory's claim of a node id; None asks for one never given."""
        return Plan(MESH_SHARD, [encode(ClaimNodeId(directory_id, wanted))])

    @property
    def has_producer_ids(self) -> bool:
        """Whether `take_producer_id` would return one."""
        return any(self._producer_ids)

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
        case (
            CreateTopic(name)
            | DeleteTopic(name)
            | AddPartitions(name)
            | AssignReplicas(name)
            | AlterTopicConfig(name)
        ):
            return shard_of(name)
        case AlterBrokerConfig() | ClaimProducerIds() | ClaimNodeId() | SetFeature():
            return MESH_SHARD
