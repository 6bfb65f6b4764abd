"""The event tape: the newest things that happened to a node, for people; bounded."""

from __future__ import annotations

from collections import deque

from mesh.model.statistics import Event
from mesh.registry import (
    BrokerConfigChanged,
    Change,
    ConfigChanged,
    PartitionsAdded,
    TopicCreated,
    TopicDeleted,
)

EVENTS_MAX = 200
"""Events that the tape keeps."""
EVENT_CHARACTERS_MAX = 200
REPEAT_MS = 60_000
"""The same event within this time of the last is counted with it: a flood is one line."""
REPEATS_LOOKED_AT = 16
"""Newest events among which a repeated one is looked for: a flood may have several causes."""


class Tape:
    """The newest things that happened, bounded."""

    __slots__ = ("_events",)

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)

    def add(self, wall_ms: int, kind: str, text: str) -> None:
        """Note an event; `text` may hold what a stranger sent."""
        text = "".join(c if c.isprintable() else "?" for c in text[:EVENT_CHARACTERS_MAX])
        newest = len(self._events) - 1
        for index in range(newest, max(newest - REPEATS_LOOKED_AT, -1), -1):
            event = self._events[index]
            same = event.kind == kind and event.text == text
            if same and wall_ms - event.at_ms < REPEAT_MS:
                del self._events[index]
                again = Event(at_ms=wall_ms, kind=kind, text=text, count=event.count + 1)
                self._events.append(again)
                return
        self._events.append(Event(at_ms=wall_ms, kind=kind, text=text))

    def note(self, change: Change, wall_ms: int) -> None:
        """Note what a committed record of the registry changed, if people want to know of it."""
        match change:
            case TopicCreated(topic):
                self.add(
                    wall_ms, "topic_created", f"{topic.name}, {topic.partition_count} partitions"
                )
            case PartitionsAdded(topic):
                self.add(
                    wall_ms,
                    "partitions_added",
                    f"{topic.name} has {topic.partition_count} partitions",
                )
            case TopicDeleted(topic):
                self.add(wall_ms, "topic_deleted", topic.name)
            case ConfigChanged(topic):
                own = ", ".join(f"{name}={value}" for name, value in sorted(topic.configs.items()))
                self.add(wall_ms, "config_changed", f"{topic.name}: {own or 'all defaults'}")
            case BrokerConfigChanged(node, configs):
                whose = f"node {node}" if node else "all nodes"
                self.add(wall_ms, "config_changed", f"{whose}: {', '.join(sorted(configs))}")
            case _:
                pass  # Ids are claimed all the time.

    def events(self) -> tuple[Event, ...]:
        """Return what it holds, the oldest first."""
        return tuple(self._events)
