"""The partition group's rule that an answer waits for the newest record on which it rests."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.broker.handlers import produce
from mesh.broker.partition import Partition
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.produce import ProduceResponse
from tests.mesh.node.peer import Peer, a_batch, a_produce

SEEDS = range(8)


def acknowledged_and_lost(seed: int) -> bool:
    """Repeat a batch whose first copy is not on disk yet, and lose what a crash may take."""
    peer = Peer(seed=seed)
    peer.create("t")
    batch = a_batch(b"x", producer_id=7, producer_epoch=0, base_sequence=0)
    first, again = peer.connect(), peer.connect()
    for connection in (first, again):
        peer.send(connection, a_produce("t", batch=batch), version=9)
    answers = peer.answers(again)
    peer.disk.crash()
    values = Peer(disk=peer.disk, seed=seed).fetch_values("t")
    codes = [
        answer.responses[0].partition_responses[0].error_code
        for answer in answers
        if isinstance(answer, ProduceResponse)
    ]
    return ErrorCode.NONE in codes and values == []


def test_an_acknowledged_duplicate_is_never_lost() -> None:
    """Whoever repeats a batch hears of success only once the first copy is committed."""
    assert not any(acknowledged_and_lost(seed) for seed in SEEDS)


def test_answered_at_once_an_acknowledged_duplicate_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rule is needed: the original may be lost after its copy was acknowledged."""
    original = produce._append

    def append(broker: Any, partition: Partition, *args: Any) -> int:
        before = partition.log.log_end_offset
        end_offset = original(broker, partition, *args)
        return 0 if partition.log.log_end_offset == before else end_offset

    monkeypatch.setattr(produce, "_append", append)
    assert any(acknowledged_and_lost(seed) for seed in SEEDS)
