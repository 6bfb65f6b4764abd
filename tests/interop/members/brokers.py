"""The brokers that stories are told to: ours and the JVM's, both with short session time-outs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.interop.jvm import jvm_broker
from tests.interop.members.story import Broker
from tests.interop.node import mesh_node_process

SESSION_MS = 3000
"""How long a member may be silent, in classic groups and in new ones."""

SETTINGS = {
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": SESSION_MS,
    "group.consumer.session.timeout.ms": SESSION_MS,
    "group.consumer.min.session.timeout.ms": SESSION_MS,
    "group.consumer.heartbeat.interval.ms": 500,
    "group.consumer.min.heartbeat.interval.ms": 500,
}

BROKERS = ("mesh", "jvm")


@contextlib.contextmanager
def broker(kind: str) -> Iterator[Broker]:
    """Run a broker of this kind, `mesh` or `jvm`, for a story that may kill it."""
    if kind == "jvm":
        with jvm_broker(
            **{name.replace(".", "_"): value for name, value in SETTINGS.items()}
        ) as it:
            yield it
        return
    options = [word for name, value in SETTINGS.items() for word in ("-o", f"{name}={value}")]
    with mesh_node_process(*options) as node:
        yield node
