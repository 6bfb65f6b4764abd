"""Idempotent producers on a whole node: whatever is repeated stands once, and is answered alike."""

from __future__ import annotations

import random

import pytest

from mesh.model.errors import ErrorCode
from mesh.node.connection import Connection
from mesh.node.options import Durability
from mesh.runtime.together import run_together
from mesh.wire import Message
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from mesh.wire.schemas.produce import PartitionProduceResponse, ProduceRequest, ProduceResponse
from simulations.disk import SimulatedCrash, SimulatedDisk
from tests.mesh.node.peer import BOOT_ID, Peer, a_batch, a_produce

OUT_OF_ORDER = ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
IN_FLIGHT = 5


def idempotent(
    sequence: int, *, acks: int = -1, epoch: int = 0, producer_id: int = 7, timeout_ms: int = 5_000
) -> ProduceRequest:
    """One batch of one record, which is the batch's sequence."""
    value = b"%d" % sequence
    batch = a_batch(value, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence)
    return a_produce("t", batch=batch, acks=acks, timeout_ms=timeout_ms)


def result(answer: Message) -> PartitionProduceResponse:
    assert isinstance(answer, ProduceResponse)
    return answer.responses[0].partition_responses[0]


def send(peer: Peer, *requests: ProduceRequest, connection: Connection | None = None) -> Connection:
    used = connection or peer.connect()
    peer.send(used, *requests, version=9)
    return used


def heard(peer: Peer, connection: Connection) -> list[tuple[int, int]]:
    """Error codes and offsets of the answers since the last call."""
    results = [result(answer) for answer in peer.answers(connection)]
    return [(each.error_code, each.base_offset) for each in results]


def with_topic(durability: Durability = "disk", **configs: str) -> Peer:
    peer = Peer(durability=durability)
    plain = [
        CreatableTopicConfig(name=name.replace("_", "."), value=value)
        for name, value in configs.items()
    ]
    topic = CreatableTopic(name="t", num_partitions=1, replication_factor=-1, configs=plain)
    request = CreateTopicsRequest(topics=[topic], timeout_ms=1_000)
    answer = peer.ask(request, CreateTopicsResponse)
    assert answer.topics[0].error_code == 0
    return peer


@pytest.mark.parametrize("durability", ["disk", "memory"])
@pytest.mark.parametrize("end", ["clean", "kill", "kill before the sync"])
def test_what_was_in_flight_is_known_again_after_any_end(durability: Durability, end: str) -> None:
    """Five batches that are sent again to the next start stand once, in their order."""
    peer = with_topic(durability)
    send(peer, *(idempotent(sequence) for sequence in range(IN_FLIGHT)))
    if end != "kill before the sync":
        peer.sync()
    if end == "clean":
        peer.node.close(BOOT_ID, run_together)
    peer.disk.kill()
    peer = Peer(disk=peer.disk, durability=durability)
    again = send(peer, *(idempotent(sequence) for sequence in range(IN_FLIGHT + 2)))
    peer.sync()
    assert heard(peer, again) == [(0, number) for number in range(IN_FLIGHT + 2)]
    assert peer.fetch_values("t") == [b"%d" % number for number in range(IN_FLIGHT + 2)]


def test_a_duplicate_waits_for_its_original() -> None:
    """It is answered when the first copy is on disk, not before; with acks=1 at once."""
    peer = with_topic()
    first = send(peer, idempotent(0), idempotent(1))
    again = send(peer, idempotent(0))
    at_once = send(peer, idempotent(1, acks=1))
    assert (heard(peer, first), heard(peer, again)) == ([], [])
    assert heard(peer, at_once) == [(0, 1)]
    peer.sync()
    assert heard(peer, first) == [(0, 0), (0, 1)]
    assert heard(peer, again) == [(0, 0)]


def test_a_duplicate_that_waits_too_long_is_told_so_and_may_come_again() -> None:
    """REQUEST_TIMED_OUT leaves the record where it is; the third attempt is answered."""
    peer = with_topic()
    slow = send(peer, idempotent(0, timeout_ms=100), idempotent(0, timeout_ms=100))
    peer.pass_time(200)
    timed_out = (ErrorCode.REQUEST_TIMED_OUT, -1)
    assert heard(peer, slow) == [timed_out, timed_out]
    third = send(peer, idempotent(0))
    peer.sync()
    assert heard(peer, third) == [(0, 0)]
    assert peer.fetch_values("t") == [b"0"]


def test_without_acks_a_duplicate_is_silent_and_a_gap_hangs_up() -> None:
    """acks=0 has no answer: only the end of the connection tells that something is wrong."""
    peer = with_topic()
    connection = send(peer, idempotent(0, acks=0), idempotent(0, acks=0), idempotent(1, acks=0))
    assert peer.hung_up == []
    send(peer, idempotent(5, acks=0), connection=connection)
    assert [gone for gone, _ in peer.hung_up] == [connection]
    peer.sync()
    assert peer.fetch_values("t") == [b"0", b"1"]


def test_a_duplicate_bears_the_time_of_its_original() -> None:
    """Where the broker sets the time, also after a restart."""
    peer = with_topic(message_timestamp_type="LogAppendTime")

    def times() -> list[int]:
        connection = send(peer, *(idempotent(sequence) for sequence in range(3)))
        peer.sync()
        return [result(answer).log_append_time_ms for answer in peer.answers(connection)]

    first = times()
    assert first == [peer.now.wall_ms] * 3
    peer.pass_time(5_000)
    assert times() == first
    peer.node.close(BOOT_ID, run_together)
    peer = Peer(disk=peer.disk)
    peer.pass_time(60_000)
    assert times() == first


def test_after_an_epoch_was_raised_the_old_one_is_fenced() -> None:
    """Whoever raised it begins at 0; what is left of the old epoch is refused, also its retries."""
    peer = with_topic()
    connection = send(peer, *(idempotent(sequence) for sequence in range(3)))
    send(peer, idempotent(3, epoch=1), idempotent(0, epoch=1), connection=connection)
    send(peer, idempotent(2), idempotent(3), idempotent(0, epoch=1), connection=connection)
    peer.sync()
    fenced = (ErrorCode.INVALID_PRODUCER_EPOCH, -1)
    assert heard(peer, connection) == [
        *((0, 0), (0, 1), (0, 2)),
        *((OUT_OF_ORDER, -1), (0, 3)),
        *(fenced, fenced, (0, 3)),
    ]


class Producer:
    """An idempotent client with five requests in flight, which it repeats until they succeed."""

    def __init__(self, producer_id: int) -> None:
        self.producer_id = producer_id
        self.acknowledged: dict[int, int] = {}
        """Offset of each sequence."""

    @property
    def window(self) -> range:
        done = len(self.acknowledged)
        return range(done, done + IN_FLIGHT)

    def send(self, peer: Peer, connection: Connection) -> None:
        """Send all that is in flight, again where it was sent before."""
        requests = (idempotent(each, producer_id=self.producer_id) for each in self.window)
        send(peer, *requests, connection=connection)

    def hear(self, answers: list[tuple[int, int]]) -> None:
        for sequence, (code, offset) in zip(self.window, answers, strict=False):
            assert code == 0
            self.acknowledged[sequence] = offset


@pytest.mark.parametrize("seed", range(30))
def test_every_record_stands_once_whatever_crashes(seed: int) -> None:
    """Two producers repeat all that was not answered, through crashes and kills, at any step.

    Each record is there once, in order, at the offset that was acknowledged.
    """
    rng = random.Random(seed)
    disk = SimulatedDisk(seed)
    Peer(disk=disk).create("t")
    producers = [Producer(7), Producer(8)]
    for number in range(8):
        try:
            disk.crash_after = rng.choice((None, None, rng.randrange(80)))
            peer = Peer(disk=disk, seed=number)
            disk.crash_after = rng.randrange(100)
            while True:
                for producer in rng.sample(producers, 2):
                    connection = peer.connect()
                    producer.send(peer, connection)
                    if rng.random() < 0.7:
                        peer.sync()
                    answers = heard(peer, connection)  # All of them may get lost on their way.
                    producer.hear(answers if rng.random() < 0.7 else [])
        except SimulatedCrash:
            rng.choice((disk.crash, disk.kill))()
    disk.crash_after = None
    peer = Peer(disk=disk)
    for producer in producers:
        connection = peer.connect()
        producer.send(peer, connection)
        peer.sync()
        producer.hear(heard(peer, connection))
        assert len(producer.acknowledged) > IN_FLIGHT
    values = peer.fetch_values("t")
    for producer in producers:
        for sequence, offset in producer.acknowledged.items():
            assert values[offset] == b"%d" % sequence
        offsets = list(producer.acknowledged.values())
        assert offsets == sorted(offsets)
    assert len(values) == sum(len(producer.acknowledged) for producer in producers)
