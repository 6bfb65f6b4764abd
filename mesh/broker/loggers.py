"""BROKER_LOGGER resources: what the loggers of this process write, told and changed by a request.

As in Kafka nothing of it is kept: after a restart the level is the one that the command was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from mesh.broker.resources import check_node_name
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import NodeId

LEVELS = ("DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARN")
"""Kafka's words for levels, in the order of its error text."""

ROOT = "root"
SET, DELETE = 0, 1
_ONLY_FOR_LISTS = {2: "APPEND", 3: "SUBTRACT"}


class Loggers(Protocol):
    """The loggers of the process, which more than one node may share; a port, as the disk is."""

    def levels(self) -> Mapping[str, str]:
        """Return for every logger there is, `root` among them, the least level that it writes."""

    def set_level(self, name: str, level: str | None) -> None:
        """Let a logger that is there write this level and those above; None: as its parent."""


def check_described(name: str, own: NodeId) -> None:
    """Refuse to tell of another node's loggers.

    Raises:
        KafkaError: INVALID_REQUEST, in the words of DescribeConfigs.
    """
    if not name:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Broker id must not be empty")
    check_node_name(name, own, called="Broker id", unexpected=f"broker id, expected {own} but")


def check_altered(name: str, own: NodeId) -> None:
    """Refuse to change another node's loggers.

    Raises:
        KafkaError: INVALID_REQUEST, in the words of IncrementalAlterConfigs.
    """
    check_node_name(name, own, called="Node id", unexpected=f"node id. Expected {own}, but")


def alter_loggers(
    loggers: Loggers,
    operations: Sequence[tuple[str, int, str | None]],
    *,
    validate_only: bool,
) -> None:
    """Carry out all changes of levels, each (logger, operation, level), or none.

    Raises:
        KafkaError: as IncrementalAlterConfigs answers for this resource.
    """
    names = [name for name, _, _ in operations]
    if len(set(names)) < len(names):
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Error due to duplicate config keys")
    nulls = [name for name, what, level in operations if level is None and what != DELETE]
    if nulls:
        text = f"Null value not supported for : {','.join(nulls)}"
        raise KafkaError(ErrorCode.INVALID_REQUEST, text)
    known = loggers.levels()
    for name, what, level in operations:
        _check(known, name, what, level)
    if not validate_only:
        for name, what, level in operations:
            loggers.set_level(name, level if what == SET else None)


def _check(known: Mapping[str, str], name: str, what: int, level: str | None) -> None:
    if what not in (SET, DELETE):
        if what in _ONLY_FOR_LISTS:
            text = (
                f"{_ONLY_FOR_LISTS[what]} operation is not allowed for the BROKER_LOGGER resource"
            )
        else:
            text = f"Unknown operation {what} for {name}."
        raise KafkaError(ErrorCode.INVALID_REQUEST, text)
    if name not in known:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"Logger {name} does not exist!")
    if what == SET and level not in LEVELS:
        text = f"Cannot set the log level of {name} to {level} as it is not a supported log level."
        text += f" Valid log levels are {', '.join(LEVELS)}"
        raise KafkaError(ErrorCode.INVALID_CONFIG, text)
    if what == DELETE and name == ROOT:
        text = "Removing the log level of the root logger is not allowed"
        raise KafkaError(ErrorCode.INVALID_REQUEST, text)
