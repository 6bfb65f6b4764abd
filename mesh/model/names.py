"""Rules for topic names (Kafka's), and the few names that are the mesh's own."""

from __future__ import annotations

import re

from mesh.model.errors import ErrorCode, KafkaError

TOPIC_NAME_LENGTH_MAX = 249
"""Characters: with `-`, a partition number and `.log` it stays a file name (Kafka's number)."""

REGISTRY_TOPIC = "__registry"
"""Holds the registry's records; clients neither see nor touch it."""

REGISTRY_TOPIC_ID = bytes.fromhex("676f7373616d657272656769737472ff")
"""The same in every mesh: its own records could not tell it. Not a reserved id, not random."""

OFFSETS_TOPIC = "__consumer_offsets"
"""Keeps groups and their offsets; made when a client first looks for a coordinator."""

INTERNAL_TOPICS = frozenset({OFFSETS_TOPIC, "__transaction_state"})
"""Topics that Metadata calls internal, so that consumers of patterns leave them out."""

METADATA_TOPIC = "__cluster_metadata"
"""Kafka's metadata log, of which its tools ask; a topic of that name would confuse them."""

_FORBIDDEN = frozenset({REGISTRY_TOPIC, METADATA_TOPIC})

_LEGAL = re.compile(r"[a-zA-Z0-9._-]+", re.ASCII)


def topic_name_fault(name: str) -> str | None:
    """Return why a topic cannot have this name, in Kafka's words; None if it can."""
    if not name:
        return "Topic name is invalid: the empty string is not allowed"
    if name in (".", ".."):
        return f"Topic name is invalid: '{name}' is not allowed"
    if len(name) > TOPIC_NAME_LENGTH_MAX:
        limit = f"longer than the max allowed length {TOPIC_NAME_LENGTH_MAX}"
        return f"Topic name is invalid: the length of '{name}' is {limit}"
    if not _LEGAL.fullmatch(name):
        return (
            f"Topic name is invalid: '{name}' contains one or more characters other than "
            "ASCII alphanumerics, '.', '_' and '-'"
        )
    return None


def check_topic_name(name: str) -> None:
    """Raise what Kafka answers if a topic cannot have this name.

    Raises:
        KafkaError: INVALID_TOPIC_EXCEPTION.
    """
    if (fault := topic_name_fault(name)) is not None:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, fault)


def is_hidden(name: str) -> bool:
    """Whether clients cannot see, create or delete a topic of this name."""
    return name in _FORBIDDEN


def collision_key(name: str) -> str:
    """Return what two names must not share: Kafka's metrics write `.` as `_`."""
    return name.replace(".", "_")
