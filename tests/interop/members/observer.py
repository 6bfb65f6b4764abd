"""Somebody who is no member asks, again and again, what a group has committed."""

from __future__ import annotations

import threading
import time

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


class Observer:
    """Asks in a thread of its own; a broker that is away is asked again later."""

    def __init__(self, port: int, group: str, topic: str, partition_count: int) -> None:
        """Prepare; nothing is asked yet."""
        self.observations: list[Observed] = []
        self.errors: list[str] = []
        self._port = port
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
        if self._connection is not None:
            self._connection.close()

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_S):
            self.ask()

    def ask(self) -> Observed | None:
        """Ask once; None if the broker is away or is not ready."""
        with self._lock:
            asked_us = time.time_ns() // 1000
            try:
                if self._connection is None:
                    self._connection = Connection(self._port)
                answer = self._connection.ask(self._request, VERSION)
            except (OSError, SetupError):
                answer = Outcome.CLOSED
            if not isinstance(answer, OffsetFetchResponse):
                if self._connection is not None:
                    self._connection.close()
                self._connection = None
                return None
            return self._note(asked_us, answer)

    def _note(self, asked_us: int, answer: OffsetFetchResponse) -> Observed | None:
        (group,) = answer.groups
        if group.error_code != 0:
            self.errors.append(f"OffsetFetch: error {group.error_code}")
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
