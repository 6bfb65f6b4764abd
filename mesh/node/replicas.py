"""From what a node promised of a replica to its log: opened, or begun anew where it is damaged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from storage.errors import DamagedLog

if TYPE_CHECKING:
    from mesh.model.types import TopicId
    from mesh.node.store import Store
    from mesh.node.tape import Tape
    from mesh.replication import Promise, Replica
    from storage.config import LogConfig
    from storage.log import Log

log = logging.getLogger("mesh.node")


def open_replica(
    store: Store,
    key: tuple[str, int, TopicId],
    promise: Promise,
    config: LogConfig,
    me: Replica,
    tape: Tape | None = None,
) -> Log:
    """Open the log of a replica.

    A damaged one that others can repair is set aside, and begins anew: what it held stays
    promised, so it neither campaigns nor counts before it has all of that again (group.md).

    Args:
        store: of this node.
        key: topic, index and topic id.
        promise: what this node promised of it.
        config: of the log.
        me: this node.
        tape: is told of damage.

    Raises:
        DamagedLog: nobody else votes, so nobody could repair it; nothing was changed.
        DiskError: it cannot be used.
    """
    topic, index, topic_id = key
    try:
        return _open(store, key, promise, config)
    except DamagedLog as error:
        if promise.config.voters in ((), (me,)):
            raise
        log.error("%s-%d is copied anew from other replicas: %s", topic, index, error)
        if tape is not None:
            tape.add(0, "damaged", f"{topic}-{index} is copied anew: {error}")
        store.set_aside(topic, index)
        opened = store.open_log(topic, index, topic_id, config)
        if promise.log_start_offset:
            opened.restart(promise.log_start_offset)
        return opened


def _open(store: Store, key: tuple[str, int, TopicId], promise: Promise, config: LogConfig) -> Log:
    topic, index, topic_id = key
    start = promise.log_start_offset
    opened = store.open_log(
        topic,
        index,
        topic_id,
        config,
        # What begins anew where its leader's log does was promised before the disk had it.
        synced_end=0 if promise.synced_end <= start else promise.synced_end,
        log_start_offset=start,
    )
    if opened.log_end_offset < start:
        opened.restart(start)
    if promise.leader_epoch < opened.leader_epochs.latest:
        store.let_go(opened)
        reason = "the promise journal does not know of its leaders, so the log is not ours"
        raise DamagedLog(opened.directory, opened.log_start_offset, 0, reason)
    return opened
