"""The registry's records and their bytes: cbor2 maps with a format number and named fields.

A record says what was asked and granted at its place in the log; whether it still applies,
replay decides (image.py). The record's key names what it is about, for people and for tools.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import cbor2

from mesh.model.types import NodeId, TopicId
from mesh.registry.topic import Topic
from storage.types import Offset

FORMAT = 1
"""Of every record we write. A larger one was written by a newer version and is refused."""


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


@dataclass(frozen=True, slots=True)
class CreateTopic:
    """Applies if no topic has this name or one that collides with it."""

    topic: Topic


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
    replicas: tuple[tuple[NodeId, ...], ...]


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


Record: TypeAlias = (
    CreateTopic
    | DeleteTopic
    | AddPartitions
    | AlterTopicConfig
    | AlterBrokerConfig
    | ClaimProducerIds
    | ClaimNodeId
)


def encode(record: Record) -> RecordPair:
    """Return the bytes of a record."""
    kind, about = _kind_of(record)
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    if isinstance(record, CreateTopic):
        topic = record.topic
        fields = {field.name: getattr(topic, field.name) for field in dataclasses.fields(topic)}
    value = {"format": FORMAT, "kind": kind, **fields}
    return RecordPair(cbor2.dumps([kind, about]), cbor2.dumps(value))


def _kind_of(record: Record) -> tuple[str, str]:
    """Return a record's kind and what it is about."""
    match record:
        case CreateTopic(topic):
            return "create-topic", topic.name
        case DeleteTopic(name):
            return "delete-topic", name
        case AddPartitions(name):
            return "add-partitions", name
        case AlterTopicConfig(name):
            return "alter-topic-config", name
        case AlterBrokerConfig(node):
            return "alter-broker-config", node
        case ClaimProducerIds(node_id):
            return "claim-producer-ids", str(node_id)
        case ClaimNodeId(directory_id):
            return "claim-node-id", directory_id


def decode_untrusted(shard: int, offset: Offset, pair: RecordPair) -> Record:
    """Return the record that these bytes are.

    Raises:
        DamagedRecordError: they are none, or a newer version wrote them.
    """
    try:
        value = cbor2.loads(pair.value, allow_duplicate_keys=False)
        record = _record_of(_Fields(value))
        key = encode(record).key
    except cbor2.CBORDecodeError as error:
        raise DamagedRecordError(shard, offset, f"not cbor: {error}") from error
    except _MalformedError as error:
        raise DamagedRecordError(shard, offset, str(error)) from error
    if key != pair.key:
        raise DamagedRecordError(shard, offset, "its key names something else than its value")
    return record


class _MalformedError(Exception):
    """Good cbor, but no record of ours."""


class _Fields:
    """Reads fields of untrusted types; each reader raises _MalformedError."""

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise _MalformedError("not a map")
        self._value: dict[object, object] = value

    def get(self, name: str) -> object:
        if name not in self._value:
            raise _MalformedError(f"has no {name}")
        return self._value[name]

    def text(self, name: str) -> str:
        value = self.get(name)
        if not isinstance(value, str):
            raise _MalformedError(f"{name} is not text")
        return value

    def number(self, name: str, end: int = 2**31) -> int:
        return _number(self.get(name), name, end)

    def topic_id(self) -> TopicId:
        value = self.get("topic_id")
        if not isinstance(value, bytes) or len(value) != 16:
            raise _MalformedError("topic_id is not 16 bytes")
        return value

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
        return tuple(found)

    def configs(self) -> dict[str, str]:
        changes = self.changes("configs")
        if None in changes.values():
            raise _MalformedError("configs holds a null")
        return {name: value for name, value in changes.items() if value is not None}

    def changes(self, field: str) -> dict[str, str | None]:
        value = self.get(field)
        if not isinstance(value, dict) or not all(
            isinstance(name, str) and (text is None or isinstance(text, str))
            for name, text in value.items()
        ):
            raise _MalformedError(f"{field} is not a map of texts")
        return value


def _number(value: object, name: str, end: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < end:
        raise _MalformedError(f"{name} is not a number from 0 to {end - 1}")
    return value


def _record_of(fields: _Fields) -> Record:
    if (written := fields.number("format")) > FORMAT:
        raise _MalformedError(f"its format is {written}, of a newer version; ours is {FORMAT}")
    kind = fields.text("kind")
    if kind not in _READERS:
        raise _MalformedError(f"unknown kind {kind!r}")
    return _READERS[kind](fields)


_READERS: Mapping[str, Callable[[_Fields], Record]] = {
    "create-topic": lambda f: CreateTopic(
        Topic(f.text("name"), f.topic_id(), f.replicas(), f.configs())
    ),
    "delete-topic": lambda f: DeleteTopic(f.text("name"), f.topic_id()),
    "add-partitions": lambda f: AddPartitions(
        f.text("name"), f.topic_id(), f.number("first_index"), f.replicas()
    ),
    "alter-topic-config": lambda f: AlterTopicConfig(
        f.text("name"), f.topic_id(), f.changes("changes")
    ),
    "alter-broker-config": lambda f: AlterBrokerConfig(f.text("node"), f.changes("changes")),
    "claim-producer-ids": lambda f: ClaimProducerIds(f.number("node_id"), f.number("start", 2**63)),
    "claim-node-id": lambda f: ClaimNodeId(
        f.text("directory_id"), None if f.get("node_id") is None else f.number("node_id")
    ),
}
