"""Answers made comparable: every field by its path, with what may differ by nature masked.

Masked are ids (each becomes `topic_id 1`, `topic_id 2`, … in the order of its first appearance, so
that equal ids stay equal), wall clock times (`now`, or their distance from the first record's),
ports, and the wording of error texts (whether there is one is compared). The order of lists that
have a key is no promise of Kafka's; they are compared by key.

Where a mesh of ours stands beside Kafka's one broker (GOSSAMER_NODES), the node that is asked has
that broker's id, and the ids of the others, which Kafka never says, stand for it: as a leader, or
in a list of replicas, in which it is then named once. In lists of nodes the others are left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from mesh.wire import Struct
from tests.interop.differential.batches import T0, describe
from tests.interop.differential.talk import Answer, Outcome, Talk
from tests.interop.node import ASKED_NODE_ID, OTHER_NODE_IDS

Value: TypeAlias = object
Flat: TypeAlias = dict[str, Value]

ABSENT = "absent"

KEYS = (
    "name",
    "topic",
    "topic_name",
    "topic_id",
    "partition_index",
    "partition",
    "index",
    "api_key",
    "node_id",
    "broker_id",
    "resource_name",
    "batch_index",
    "member_id",
    "group_id",
    "key",
)
IDS = frozenset(
    {
        "topic_id",
        "cluster_id",
        "producer_id",
        "member_id",
        "session_id",
        "directory_id",
        "replica_directory_id",
        # An offset in Kafka's metadata log; clients only look whether it grew.
        "finalized_features_epoch",
    }
)
TEXTS = frozenset({"error_message", "batch_index_error_message", "documentation"})
PORTS = frozenset({"port"})
NODES = frozenset({"node_id", "leader_id", "controller_id", "replica_nodes", "isr_nodes"})
"""Fields that name nodes, one or several."""
MESH_NODE_IDS = {ASKED_NODE_ID, *OTHER_NODE_IDS}
MEMBERS = frozenset({"brokers", "nodes", "current_voters"})
"""Lists of all nodes there are."""
NEAR_MS = 600_000


class Masks:
    """The names that one transcript's changing values go by."""

    def __init__(self, topics: Mapping[str, str]) -> None:
        """Take the transcript's topics: real name → shared name."""
        self._topics = topics
        self._ids: dict[str, dict[Value, str]] = {}

    def value(self, name: str, value: Value) -> Value:
        """Return what is compared in place of a field's value."""
        if name in TEXTS:
            return "text" if value else value
        if name in PORTS:
            return "port"
        if name in NODES:
            return self._nodes(value)
        if name == "leader":
            name = "member_id"
        if name in IDS:
            if value in (None, -1, 0, "", bytes(16)):
                return "none" if isinstance(value, bytes) else value
            # Counted for each kind by itself: a session that one side lacks shifts no topic.
            known = self._ids.setdefault(name, {})
            return known.setdefault(value, f"{name} {len(known) + 1}")
        if isinstance(value, int) and not isinstance(value, bool):
            return self._time(value)
        if isinstance(value, str):
            return self._topics.get(value, value)
        if isinstance(value, (list, tuple)):
            return tuple(self.value("", item) for item in value)
        return bytes(value).hex() if isinstance(value, (bytes, memoryview)) else value

    @staticmethod
    def _nodes(value: Value) -> Value:
        if not isinstance(value, list):
            return ASKED_NODE_ID if value in OTHER_NODE_IDS else value
        if any(one in OTHER_NODE_IDS for one in value):
            return (ASKED_NODE_ID, *(one for one in value if one not in MESH_NODE_IDS))
        return tuple(value)

    @staticmethod
    def _time(value: int) -> Value:
        # No other number of the protocol comes near the milliseconds since 1970.
        if abs(value - T0) < NEAR_MS:
            return f"T0{value - T0:+d}"
        return "now" if abs(value - time.time() * 1000) < NEAR_MS else value


def fields_of(message: Struct) -> Iterator[tuple[str, Value]]:
    """Give a message's fields, in the order of their declaration."""
    for name in message.FIELDS:
        yield name, getattr(message, name)


def _key(message: Struct, masks: Masks, place: int) -> str:
    present = dict(fields_of(message))
    for name in KEYS:
        if present.get(name) not in (None, bytes(16), ""):
            return str(masks.value(name, present[name]))
    return "(empty)" if "" in (present.get("name"), present.get("resource_name")) else str(place)


def flatten(answer: Answer, masks: Masks) -> Flat:
    """Return every field by its path (`topics/missing/partitions/0/error_code`), masked."""
    if isinstance(answer, Outcome):
        return {"outcome": answer.value}
    flat: Flat = {}
    _flatten(answer, "", masks, flat)
    return flat


def _flatten(message: Struct, path: str, masks: Masks, flat: Flat) -> None:
    for name, value in fields_of(message):
        here = f"{path}{name}"
        if name == "records":
            data = b"" if value is None else bytes(value)  # type: ignore[call-overload]
            if value is None:
                flat[here] = None
            for place, found in enumerate(describe(data)):
                flat[f"{here}/{place}/"] = "present"
                for field, item in found.items():
                    flat[f"{here}/{place}/{field}"] = masks.value(field, item)
        elif isinstance(value, Struct):
            _flatten(value, f"{here}/", masks, flat)
        elif isinstance(value, list) and value and isinstance(value[0], Struct):
            for place, item in enumerate(value):
                if name in MEMBERS and _is_another(item):
                    continue
                key = f"{here}/{_key(item, masks, place)}"
                while f"{key}/" in flat:
                    key += "+"  # Two answers for one key: both are compared.
                flat[f"{key}/"] = "present"
                _flatten(item, f"{key}/", masks, flat)
        else:
            flat[here] = masks.value(name, value)


def _is_another(member: Struct) -> bool:
    present = dict(fields_of(member))
    return any(
        present.get(name) in OTHER_NODE_IDS for name in ("node_id", "broker_id", "replica_id")
    )


def transcript(talk: Talk) -> list[tuple[str, Flat]]:
    """Return what a case heard, comparable."""
    masks = Masks(talk.names)
    return [(label, flatten(answer, masks)) for label, answer in talk.steps]


def differing(kafka: Flat, ours: Flat) -> Iterator[tuple[str, Value, Value]]:
    """Give (path, Kafka's value, our value) wherever two answers differ.

    An element that only one has is named once, not field by field.
    """
    lone: list[str] = []
    for path in sorted(kafka.keys() | ours.keys()):
        theirs, mine = kafka.get(path, ABSENT), ours.get(path, ABSENT)
        if theirs == mine or any(path.startswith(parent) for parent in lone):
            continue
        if {theirs, mine} == {(), ABSENT}:
            continue  # An empty list, where the other one's elements speak for themselves.
        if path.endswith("/"):
            lone.append(path)
        yield path.rstrip("/"), theirs, mine
