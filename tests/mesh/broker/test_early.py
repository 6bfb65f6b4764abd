"""Messages for groups that are not known yet: a flood of them is dropped, and costs nothing."""

from __future__ import annotations

from mesh.broker.early import KEPT_MAX, KEPT_MS, Early
from mesh.links import Word
from mesh.replication import Replica

SENDER = Replica(2, "two")
TOPIC = b"t" * 16


def a_word(index: int) -> Word:
    return Word((TOPIC, index), 1, (), ())


def test_a_full_store_is_not_looked_through_for_each_message() -> None:
    """What is kept is looked through once in a while; what comes meanwhile is dropped."""
    early = Early()
    for index in range(KEPT_MAX + 1):
        early.keep(SENDER, a_word(index), 0)
    kept = early._kept
    for index in range(KEPT_MAX, KEPT_MAX + 100):
        early.keep(SENDER, a_word(index), KEPT_MS // 2 - 1)
    assert early._kept is kept
    assert len(kept) == KEPT_MAX
    assert early.take((TOPIC, KEPT_MAX), 0) == []
    early.keep(SENDER, a_word(KEPT_MAX + 7), KEPT_MS)
    early.keep(SENDER, a_word(KEPT_MAX + 8), KEPT_MS)
    assert early.take((TOPIC, KEPT_MAX + 8), KEPT_MS) == [(SENDER, a_word(KEPT_MAX + 8))]
    assert early.take((TOPIC, 1), KEPT_MS) == []
