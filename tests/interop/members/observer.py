"""Somebody who is no member asks, again and again, what a group has committed."""

from __future__ import annotations

import threading
import time

from mesh.wire.schemas.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from mesh.wire.schemas.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
)
from tests.interop.differential.talk import Connection, Outcome, SetupError
from tests.interop.members.events import Observed

PAUSE_S = 0.25
VERSION = 8
"""Of OffsetFetch: the newest that names topics by their names."""
FIND_VERSION = 3
"""Of FindCoordinator: the newest for one group."""


class Observer:
    """Asks in a thread of its own; a broker that is away is asked again later."""

    def __init__(self, bootstrap: str, group: str, topic: str, partition_count: int) -> None:
        """Take the addresses of brokers, any of which names the coordinator; nothing is asked."""
        self.observations: list[Observed] = []
        self.errors: list[str] = []
        self._ports = [int(address.rpartition(":")[2]) for address in bootstrap.split(",")]
        self._group = group
        self._topic = topic
        wanted = OffsetFetchRequestTopics(
            name=topic, partition_indexes=list(range(partition_count))
        )
        self._request = OffsetFetchRequest(
            groups=[OffsetFetchRequestGroup(group_id=group, topics=[wanted])]
        )
        self._connection: Connection | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Ask from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
        self._thread.join()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_S):
            self.ask()

    def ask(self) -> Observed | None:
        """Ask once; None if the broker is away or is not ready."""
        with self._lock:
            asked_us = time.time_ns() // 1000
            try:
                if self._connection is None:
                    self._connection = self._connect()
                answer = self._connection.ask(self._request, VERSION)
            except (OSError, SetupError):
                answer = Outcome.CLOSED
            if not isinstance(answer, OffsetFetchResponse):
                self._hang_up()
                return None
            return self._note(asked_us, answer)

    def _connect(self) -> Connection:
        """Connect to the group's coordinator. Raises SetupError or OSError if nobody names it."""
        self._ports.append(self._ports.pop(0))  # Another one next time.
        guide = Connection(self._ports[0])
        try:
            told = guide.ask(FindCoordinatorRequest(key=self._group), FIND_VERSION)
        finally:
            guide.close()
        if not isinstance(told, FindCoordinatorResponse) or told.error_code != 0:
            raise SetupError(f"no coordinator: {told}")
        return Connection(told.port)

    def _note(self, asked_us: int, answer: OffsetFetchResponse) -> Observed | None:
        (group,) = answer.groups
        if group.error_code != 0:
            self.errors.append(f"OffsetFetch: error {group.error_code}")
            self._hang_up()  # It may be another's by now.
            return None
        offsets = tuple(
            (partition.partition_index, partition.committed_offset)
            for topic in group.topics
            for partition in topic.partitions
            if partition.error_code == 0 and partition.committed_offset >= 0
        )
        observed = Observed(asked_us, time.time_ns() // 1000, offsets)
        self.observations.append(observed)
        return observed
