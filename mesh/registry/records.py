"""The registry's records and their bytes: cbor2 maps with a format number and named fields.

Format 1 named no directories: a mesh of that time had one node, whose directory it can only mean.
A record says what was asked and granted at its place in the log; whether it still applies,
replay decides (image.py). The record's key names what it is about, for people and for tools.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import cbor2

from mesh.model.config import BROKER_SETTINGS, TOPIC_SETTINGS, ConfigError, Setting
from mesh.model.names import is_hidden, topic_name_fault
from mesh.model.types import NodeId, TopicId
from mesh.model.untrusted import NO_TAGS
from mesh.registry.topic import Placement, voter_count_of
from storage.types import Offset

FORMAT = 2
"""Of every record we write. A larger one was written by a newer release and is refused."""

FORMAT_WITHOUT_DIRECTORIES = 1
"""Still read."""


LEVEL_END = 2**15
"""First level of a feature that the protocol's int16 has no room for."""


class RecordPair(NamedTuple):
    """A record as it lies in the log."""

    key: bytes
    value: bytes


class DamagedRecordError(Exception):
    """Bytes in a shard of the registry that are no record; the node must not start on them."""

    def __init__(self, shard: int, offset: Offset, cause: str) -> None:
        """`cause` says what is wrong with the record at `offset` of `shard`."""
        super().__init__(shard, offset, cause)
        self.shard = shard
        self.offset = offset
        self.cause = cause

    def __str__(self) -> str:
        return f"registry shard {self.shard}, record at offset {self.offset}: {self.cause}"


class NewerRecordError(DamagedRecordError):
    """A record of a format, or with a setting, that this release does not know.

    It is whole, as far as we can say.
    """


@dataclass(frozen=True, slots=True)
class CreateTopic:
    """Applies if no topic has this name or one that collides with it."""

    name: str
    topic_id: TopicId
    placement: Placement
    replicas_wanted: int
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DeleteTopic:
    """Applies if this very topic is there."""

    name: str
    topic_id: TopicId


@dataclass(frozen=True, slots=True)
class AddPartitions:
    """Applies if this very topic has exactly `first_index` partitions."""

    name: str
    topic_id: TopicId
    first_index: int
    placement: Placement


@dataclass(frozen=True, slots=True)
class AssignReplicas:
    """Applies if this very topic has the partition."""

    name: str
    topic_id: TopicId
    index: int
    nodes: tuple[NodeId, ...]
    """Where the partition is to be, whatever placement desires; none: where that desires it."""


@dataclass(frozen=True, slots=True)
class AlterTopicConfig:
    """Applies if this very topic is there."""

    name: str
    topic_id: TopicId
    changes: Mapping[str, str | None]
    """None takes the topic's own value away."""


@dataclass(frozen=True, slots=True)
class AlterBrokerConfig:
    """Always applies."""

    node: str
    """A node id as text; empty for all nodes."""
    changes: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class ClaimProducerIds:
    """Always applies: its offset is the number of the block, so no block is given twice."""

    node_id: NodeId
    start: int
    """Random, drawn at the node's start: an earlier start's blocks are not ours."""


@dataclass(frozen=True, slots=True)
class ClaimNodeId:
    """Applies unless another directory ever had the id; a repeated claim is answered alike."""

    directory_id: str
    node_id: NodeId | None
    """None asks for the next one never given."""


@dataclass(frozen=True, slots=True)
class SetFeature:
    """Applies if the level rises, or may be lowered; to set the level that is there is fine."""

    name: str
    level: int
    """0 stands for none: the feature is not finalized any more."""
    may_lower: bool


Record: TypeAlias = (
    CreateTopic
    | DeleteTopic
    | AddPartitions
    | AssignReplicas
    | AlterTopicConfig
    | AlterBrokerConfig
    | ClaimProducerIds
    | ClaimNodeId
    | SetFeature
)


def encode(record: Record) -> RecordPair:
    """Return the bytes of a record."""
    kind, about = _kind_of(record)
    value = {"format": FORMAT, "kind": kind, **_fields_of(record)}
    if isinstance(record, CreateTopic | AddPartitions):
        del value["placement"]
        value |= _fields_of(record.placement)
    return RecordPair(_key(kind, about), cbor2.dumps(value))


def _fields_of(item: Record | Placement) -> dict[str, object]:
    return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}


def _key(kind: str, about: str) -> bytes:
    return cbor2.dumps([kind, about])


def _kind_of(record: Record) -> tuple[str, str]:
    """Return a record's kind and what it is about."""
    match record:
        case CreateTopic(name):
            return "create-topic", name
        case DeleteTopic(name):
            return "delete-topic", name
        case AddPartitions(name):
            return "add-partitions", name
        case AssignReplicas(name):
            return "assign-replicas", name
        case AlterTopicConfig(name):
            return "alter-topic-config", name
        case AlterBrokerConfig(node):
            return "alter-broker-config", node
        case ClaimProducerIds(node_id):
            return "claim-producer-ids", str(node_id)
        case ClaimNodeId(directory_id):
            return "claim-node-id", directory_id
        case SetFeature(name):
            return "set-feature", name


def decode_untrusted(shard: int, offset: Offset, pair: RecordPair) -> Record:
    """Return the record that these bytes are.

    Raises:
        NewerRecordError: a newer release wrote them.
        DamagedRecordError: they are none.
    """
    try:
        value = cbor2.loads(pair.value, semantic_decoders=NO_TAGS, allow_duplicate_keys=False)
        record = _record_of(fields := _Fields(value))
        fields.check_all_read()
        if cbor2.dumps(value) != pair.value:
            raise _MalformedError("it says the right things in bytes that we do not write")
    except _NewerFormatError as error:
        needed = "it takes the release that wrote it, or a later one"
        raise NewerRecordError(shard, offset, f"{error}: {needed}") from error
    except _MalformedError as error:
        raise DamagedRecordError(shard, offset, str(error)) from error
    except (cbor2.CBORDecodeError, ValueError) as error:
        raise DamagedRecordError(shard, offset, f"not cbor: {error}") from error
    if pair.key != _key(*_kind_of(record)):
        raise DamagedRecordError(shard, offset, "its key names something else than its value")
    return record


class _MalformedError(Exception):
    """Good cbor, but no record of ours."""


class _NewerFormatError(Exception):
    """Good cbor, and more than this release knows."""


class _Fields:
    """Reads fields of untrusted types; each reader raises _MalformedError."""

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise _MalformedError("not a map")
        self._value: dict[object, object] = value
        self._read: set[object] = set()

    def get(self, name: str) -> object:
        if name not in self._value:
            raise _MalformedError(f"has no {name}")
        self._read.add(name)
        return self._value[name]

    def check_all_read(self) -> None:
        if len(self._read) < len(self._value):
            raise _MalformedError("it has a field that its kind does not have")

    def text(self, name: str) -> str:
        value = self.get(name)
        if not isinstance(value, str):
            raise _MalformedError(f"{name} is not text")
        return value

    def number(self, name: str, end: int = 2**31) -> int:
        return _number(self.get(name), name, end)

    def flag(self, name: str) -> bool:
        value = self.get(name)
        if not isinstance(value, bool):
            raise _MalformedError(f"{name} is neither true nor false")
        return value

    def topic_name(self) -> str:
        name = self.text("name")
        if topic_name_fault(name) is not None or is_hidden(name):
            raise _MalformedError("name is none that a topic can have")
        return name

    def topic_id(self) -> TopicId:
        value = self.get("topic_id")
        if not isinstance(value, bytes) or len(value) != 16:
            raise _MalformedError("topic_id is not 16 bytes")
        return value

    def node(self) -> str:
        """Return the id of a node as text; empty for all nodes."""
        node = self.text("node")
        if node and not (node.isascii() and node.isdecimal()):
            raise _MalformedError("node is no node id")
        return node

    def replicas(self) -> tuple[tuple[NodeId, ...], ...]:
        """Return at least one list of at least one node id each."""
        value = self.get("replicas")
        if not isinstance(value, list) or not value:
            raise _MalformedError("replicas is not a list with items")
        found = []
        for nodes in value:
            if not isinstance(nodes, list) or not nodes:
                raise _MalformedError("replicas of a partition are not a list with items")
            found.append(tuple(_number(node, "a replica", 2**31) for node in nodes))
            if len(set(nodes)) < len(nodes):
                raise _MalformedError("replicas of a partition name a node twice")
        return tuple(found)

    def nodes(self) -> tuple[NodeId, ...]:
        """Return distinct node ids, perhaps none."""
        value = self.get("nodes")
        if not isinstance(value, list):
            raise _MalformedError("nodes is not a list")
        found = tuple(_number(node, "a node", 2**31) for node in value)
        if len(set(found)) < len(found):
            raise _MalformedError("nodes names a node twice")
        return found

    def placement(self) -> Placement:
        replicas = self.replicas()
        fewest = min(len(nodes) for nodes in replicas)
        if self.number("format") == FORMAT_WITHOUT_DIRECTORIES:
            return Placement(replicas, voter_count_of(fewest), {})
        voter_count = self.number("voter_count")
        if not 1 <= voter_count <= fewest:
            raise _MalformedError(f"{voter_count} voters of {fewest} replicas")
        named = {node for nodes in replicas for node in nodes}
        directories = self.get("directories")
        if not isinstance(directories, dict) or directories.keys() != named:
            raise _MalformedError("directories is not a map of the nodes that are named")
        for node, directory_id in directories.items():
            if not isinstance(directory_id, str) or not directory_id:
                raise _MalformedError(f"the directory of node {node} is not text")
        # Thousands of topics name the same few.
        interned = {node: sys.intern(text) for node, text in sorted(directories.items())}
        return Placement(replicas, voter_count, interned)

    def replicas_wanted(self) -> int:
        if self.number("format") == FORMAT_WITHOUT_DIRECTORIES:
            return len(self.replicas()[0])
        return self.number("replicas_wanted")

    def configs(self) -> dict[str, str]:
        changes = self.changes("configs", TOPIC_SETTINGS)
        if None in changes.values():
            raise _MalformedError("configs holds a null")
        return {name: value for name, value in changes.items() if value is not None}

    def changes(self, field: str, settings: Mapping[str, Setting]) -> dict[str, str | None]:
        """Return changes of these settings: values that they take, or None.

        Whoever reads them has no way to refuse one. One that is unknown comes from a release
        that knows it; to take away what nobody knows is harmless.
        """
        value = self.get(field)
        if not isinstance(value, dict):
            raise _MalformedError(f"{field} is not a map")
        for name, text in value.items():
            if not isinstance(name, str) or not (text is None or isinstance(text, str)):
                raise _MalformedError(f"{field} is not a map of texts")
            if text is None:
                continue
            if name not in settings:
                raise _NewerFormatError(f"it sets {name}, which this release does not know")
            try:
                settings[name].parse(text)
            except ConfigError as error:
                raise _MalformedError(str(error)) from error
        return value


def _number(value: object, name: str, end: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < end:
        raise _MalformedError(f"{name} is not a number from 0 to {end - 1}")
    return value


def _record_of(fields: _Fields) -> Record:
    if (written := fields.number("format")) > FORMAT:
        raise _NewerFormatError(
            f"its format is {written}, and this release knows none above {FORMAT}"
        )
    kind = fields.text("kind")
    if kind not in _READERS:
        raise _MalformedError(f"unknown kind {kind!r}")
    return _READERS[kind](fields)


_READERS: Mapping[str, Callable[[_Fields], Record]] = {
    "create-topic": lambda f: CreateTopic(
        f.topic_name(), f.topic_id(), f.placement(), f.replicas_wanted(), f.configs()
    ),
    "delete-topic": lambda f: DeleteTopic(f.topic_name(), f.topic_id()),
    "add-partitions": lambda f: AddPartitions(
        f.topic_name(), f.topic_id(), f.number("first_index"), f.placement()
    ),
    "assign-replicas": lambda f: AssignReplicas(
        f.topic_name(), f.topic_id(), f.number("index"), f.nodes()
    ),
    "alter-topic-config": lambda f: AlterTopicConfig(
        f.topic_name(), f.topic_id(), f.changes("changes", TOPIC_SETTINGS)
    ),
    "alter-broker-config": lambda f: AlterBrokerConfig(
        f.node(), f.changes("changes", BROKER_SETTINGS)
    ),
    "claim-producer-ids": lambda f: ClaimProducerIds(f.number("node_id"), f.number("start", 2**63)),
    "claim-node-id": lambda f: ClaimNodeId(
        f.text("directory_id"), None if f.get("node_id") is None else f.number("node_id")
    ),
    "set-feature": lambda f: SetFeature(
        f.text("name"), f.number("level", LEVEL_END), f.flag("may_lower")
    ),
}
