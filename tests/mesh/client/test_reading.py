"""The reader's machine: every record of the log, once, in order, from start to end."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from mesh.client.assignment import EARLIEST, LATEST, Assignment, AtOffset, AtTime, Place
from mesh.client.reading import Ask, Broken, Effect, ReadMachine, Skipped
from mesh.client.settings import ClientSettings, ReaderSettings
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import TopicPartition
from mesh.wire.schemas.fetch import (
    AbortedTransaction,
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    LeaderIdAndEpoch,
    PartitionData,
)
from mesh.wire.schemas.list_offsets import (
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from storage.records import Record, build_batch, read_batch_header
from tests.mesh.client.builders import TOPIC_ID, a_cluster, at, metadata

E = ErrorCode


@dataclass
class Log:
    """A partition as lists of records; offsets may have holes, as compaction leaves them."""

    batches: list[bytes] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    start: int = 0
    end: int = 0
    leader: int = 1
    leader_epoch: int = 0

    def append(self, count: int, *, times: list[int] | None = None, codec: int = 0) -> None:
        """Add one batch."""
        times = times or [1000 + self.end + n for n in range(count)]
        new = [
            Record(self.end + n, times[n], b"k", b"v%d" % (self.end + n), []) for n in range(count)
        ]
        self.batches.append(bytes(build_batch(new, base_offset=self.end, codec=codec)))
        self.records += new
        self.end += count

    def look_up(self, timestamp_ms: int) -> int:
        """Answer ListOffsets."""
        if timestamp_ms == -2:
            return self.start
        if timestamp_ms == -1:
            return self.end
        return next((r.offset for r in self.records if r.timestamp_ms >= timestamp_ms), -1)

    def fetch(self, offset: int, batch_count: int) -> bytes:
        """Whole batches from the one that holds the offset."""
        held = [b for b in self.batches if read_batch_header(b).last_offset >= offset]
        return b"".join(held[:batch_count])


class World:
    """Logs, and a cluster that serves them; fault says what goes wrong with a partition."""

    def __init__(self, logs: list[Log], rng: random.Random) -> None:
        self.logs = logs
        self.rng = rng
        self.now_ms = 0
        self.asked: list[Ask] = []
        self.others: list[Effect] = []
        self.stale = False

    def poll(self, machine: ReadMachine) -> None:
        """Take the machine's effects."""
        for effect in machine.poll(at(self.now_ms)):
            if isinstance(effect, Ask):
                self.asked.append(effect)
            elif isinstance(effect, Skipped | Broken):
                self.others.append(effect)
            else:
                self.stale = True

    def answer(self, machine: ReadMachine, fault: ErrorCode | None = None) -> None:
        """Serve some request."""
        ask = self.asked.pop(self.rng.randrange(len(self.asked)))
        response: FetchResponse | ListOffsetsResponse
        if isinstance(ask.request, FetchRequest):
            response = self._fetched(ask.node, ask.request, fault)
        else:
            response = self._looked_up(ask.node, ask.request, fault)
        machine.answered(ask.request_id, response, at(self.now_ms))

    def refresh(self, machine: ReadMachine) -> None:
        """Answer a request for metadata."""
        self.stale = False
        leaders = {index: log.leader for index, log in enumerate(self.logs)}
        epochs = {index: log.leader_epoch for index, log in enumerate(self.logs)}
        machine.cluster.apply(metadata(leaders, epochs=epochs), all_topics=False)

    def _fetched(self, node: int, request: FetchRequest, fault: ErrorCode | None) -> FetchResponse:
        answers = []
        for topic in request.topics:
            for item in topic.partitions:
                log = self.logs[item.partition]
                data = PartitionData(partition_index=item.partition, high_watermark=log.end)
                if log.leader != node:
                    data.error_code = E.NOT_LEADER_OR_FOLLOWER
                    if self.rng.random() < 0.5:
                        data.current_leader = LeaderIdAndEpoch(
                            leader_id=log.leader, leader_epoch=log.leader_epoch
                        )
                elif fault is not None:
                    data.error_code = fault
                elif not log.start <= item.fetch_offset <= log.end:
                    data.error_code = E.OFFSET_OUT_OF_RANGE
                else:
                    data.records = memoryview(log.fetch(item.fetch_offset, self.rng.randint(1, 4)))
                answers.append(data)
        topic_answer = FetchableTopicResponse(topic="t", topic_id=TOPIC_ID, partitions=answers)
        return FetchResponse(responses=[topic_answer])

    def _looked_up(
        self, node: int, request: ListOffsetsRequest, fault: ErrorCode | None
    ) -> ListOffsetsResponse:
        found = []
        for item in request.topics[0].partitions:
            log = self.logs[item.partition_index]
            answer = ListOffsetsPartitionResponse(partition_index=item.partition_index)
            if log.leader != node or fault is not None:
                answer.error_code = fault or E.NOT_LEADER_OR_FOLLOWER
            else:
                answer.offset = log.look_up(item.timestamp)
            found.append(answer)
        return ListOffsetsResponse(topics=[ListOffsetsTopicResponse(name="t", partitions=found)])


def a_log(*counts: int) -> Log:
    """One batch for each number of records."""
    log = Log()
    for count in counts:
        log.append(count)
    return log


def a_reader(
    log: Log, start: Place, *ends: Place, settings: ReaderSettings | None = None
) -> tuple[ReadMachine, World]:
    """A machine on partition 0 of a world with one log."""
    world = World([log], random.Random(0))
    assignment = Assignment(TopicPartition("t", 0), start, ends)
    machine = ReadMachine(
        [assignment],
        settings or ReaderSettings(),
        ClientSettings(),
        a_cluster(),
        world.rng.random,
    )
    return machine, world


def read(machine: ReadMachine, world: World, rounds: int = 50) -> list[int]:
    """Go on until the machine is done, or for so many rounds; return the offsets handed out."""
    offsets: list[int] = []
    for _ in range(rounds):
        world.poll(machine)
        while world.asked:
            world.answer(machine)
        while (chunk := machine.take()) is not None:
            offsets += [record.offset for record in chunk.records]
        if machine.done:
            break
        if world.stale:
            world.refresh(machine)
        world.now_ms += 200
    return offsets


@pytest.mark.parametrize("seed", range(150))
def test_every_record_is_read_once_and_in_order(seed: int) -> None:
    """Through errors, lost connections and moving leaders, each partition comes whole."""
    rng = random.Random(seed)
    logs = [Log(leader=rng.choice((1, 2, 3))) for _ in range(3)]
    for log in logs:
        for _ in range(rng.randint(0, 12)):
            log.append(rng.randint(1, 9), codec=rng.randrange(5))
    world = World(logs, rng)
    machine = ReadMachine(
        [Assignment(TopicPartition("t", n), EARLIEST, (LATEST,)) for n in range(3)],
        ReaderSettings(partition_bytes_max=100, buffer_bytes_max=rng.choice((100, 10_000))),
        ClientSettings(),
        a_cluster({0: 1, 1: 1, 2: 1}),
        rng.random,
    )
    got: list[list[Record]] = [[], [], []]
    for step in range(3000):
        world.poll(machine)
        calm = step > 300
        if world.asked and rng.random() < 0.7:
            faults = (None, None, E.LEADER_NOT_AVAILABLE, E.OFFSET_NOT_AVAILABLE)
            world.answer(machine, None if calm else rng.choice(faults))
        elif world.asked and not calm:
            machine.lost(world.asked.pop().request_id, at(world.now_ms))
        if not calm and rng.random() < 0.1:
            moved = rng.choice(logs)
            moved.leader, moved.leader_epoch = rng.choice((1, 2, 3)), moved.leader_epoch + 1
        if world.stale and rng.random() < 0.5:
            world.refresh(machine)
        if rng.random() < 0.5 and (chunk := machine.take()) is not None:
            got[chunk.partition.partition] += chunk.records
        world.now_ms += rng.randint(0, 100)
        if machine.done:
            break
    assert machine.done
    assert not world.others
    for log, records in zip(logs, got, strict=True):
        assert [(r.offset, r.timestamp_ms, r.value) for r in log.records] == [
            (r.offset, r.timestamp_ms, r.value) for r in records
        ]
    assert machine.buffered_bytes == 0


@pytest.mark.parametrize(
    ("start", "ends", "expected"),
    [
        (EARLIEST, (LATEST,), range(10)),
        (LATEST, (LATEST,), ()),
        (AtOffset(4), (LATEST,), range(4, 10)),
        (AtOffset(4), (AtOffset(7),), range(4, 7)),
        (AtOffset(4), (AtOffset(7), LATEST), range(4, 7)),
        (AtOffset(4), (AtOffset(99), LATEST), range(4, 10)),
        (AtOffset(4), (AtOffset(4),), ()),
        (AtTime(1006), (LATEST,), range(6, 10)),
        (EARLIEST, (AtTime(1006),), range(6)),
        (AtTime(9999), (LATEST,), ()),
        (EARLIEST, (AtTime(9999),), range(10)),
    ],
)
def test_start_and_end_are_where_they_were_asked_for(
    start: Place, ends: tuple[Place, ...], expected: range
) -> None:
    """Offsets, times and ends cut a log at exactly the record they name."""
    machine, world = a_reader(a_log(3, 3, 4), start, *ends)
    assert list(expected) == read(machine, world)
    assert machine.done


def test_a_time_in_the_future_ends_with_the_first_record_that_is_as_new() -> None:
    """Reading follows the log until then."""
    log = a_log(2)
    machine, world = a_reader(log, EARLIEST, AtTime(5_000_000))
    assert read(machine, world, rounds=5) == [0, 1]
    assert not machine.done
    log.append(3, times=[1_000_000, 5_000_000, 1_000_000])
    assert read(machine, world) == [2]
    assert machine.done


@pytest.mark.parametrize(
    ("reset", "wanted", "expected"),
    [
        ("earliest", 1, range(3, 9)),
        ("nearest", 1, range(3, 9)),
        ("nearest", 50, ()),
        ("latest", 1, ()),
    ],
)
def test_an_offset_that_is_not_there_is_skipped_as_asked(
    reset: str, wanted: int, expected: range
) -> None:
    """Reading goes on at the start, the end or the nearer of both, and says so."""
    log = a_log(3, 3, 3)
    log.start = 3
    settings = ReaderSettings(reset=reset)  # type: ignore[arg-type]  # the table's words
    machine, world = a_reader(log, AtOffset(wanted), settings=settings)
    assert list(expected) == read(machine, world, rounds=8)
    [skip] = world.others
    assert isinstance(skip, Skipped)
    assert (skip.wanted, skip.offset) == (wanted, 3 if expected else 9)


def test_an_offset_that_is_not_there_is_an_error_otherwise() -> None:
    """Without a word on it the reader ends, with Kafka's code."""
    machine, world = a_reader(a_log(3), AtOffset(50))
    read(machine, world)
    [broken] = world.others
    assert isinstance(broken, Broken)
    assert broken.error.code is E.OFFSET_OUT_OF_RANGE


def test_a_damaged_batch_ends_the_reader_after_what_was_sound() -> None:
    """A wrong CRC is told with its offset; the records before it are handed out."""
    log = a_log(2, 2)
    damaged = bytearray(log.batches[1])
    damaged[-1] ^= 1
    log.batches[1] = bytes(damaged)
    world_log = log
    machine, world = a_reader(world_log, EARLIEST)
    assert read(machine, world) == [0, 1]
    [broken] = world.others
    assert isinstance(broken, Broken)
    assert (broken.error.code, "offset 2" in str(broken.error)) == (E.CORRUPT_MESSAGE, True)


def test_a_batch_that_is_cut_at_the_front_does_not_loop() -> None:
    """Asking again would bring the same bytes for ever."""
    log = a_log(2)
    log.batches[0] = log.batches[0][:-1]
    machine, world = a_reader(log, EARLIEST)
    read(machine, world)
    assert any(isinstance(effect, Broken) for effect in world.others)


def test_a_lasting_error_ends_the_reader() -> None:
    """An error that no retry can cure is raised at once, a passing one after its bound."""
    machine, world = a_reader(a_log(1), AtOffset(0))
    world.poll(machine)
    world.answer(machine, E.TOPIC_AUTHORIZATION_FAILED)
    world.poll(machine)
    assert [effect.error.code for effect in world.others if isinstance(effect, Broken)] == [
        E.TOPIC_AUTHORIZATION_FAILED
    ]
    machine, world = a_reader(a_log(1), AtOffset(0), settings=ReaderSettings(stuck_ms_max=1000))
    while not world.others:
        world.poll(machine)
        while world.asked:
            world.answer(machine, E.OFFSET_NOT_AVAILABLE)
        world.now_ms += 100
    assert 1000 <= world.now_ms <= 2500


def test_transactions_that_were_given_up_are_left_out() -> None:
    """With committed_only, aborted batches and markers are skipped, the rest is kept."""
    log = Log()

    def add(offset: int, *, pid: int, control: bytes | None = None, plain: bool = False) -> None:
        record = Record(offset, 1, control, b"v")
        log.batches.append(
            bytes(
                build_batch(
                    [record],
                    base_offset=offset,
                    producer_id=pid,
                    producer_epoch=0,
                    transactional=not plain,
                    control=control is not None,
                )
            )
        )
        log.end = offset + 1

    add(0, pid=1)
    add(1, pid=2)
    add(2, pid=1, control=b"\0\0\0\0")  # 1 aborts
    add(3, pid=1)
    add(4, pid=2, control=b"\0\0\0\1")  # 2 commits
    add(5, pid=-1, plain=True)
    aborted = [AbortedTransaction(producer_id=1, first_offset=0)]
    machine, world = a_reader(
        log, AtOffset(0), AtOffset(6), settings=ReaderSettings(committed_only=True)
    )
    world.poll(machine)
    [ask] = world.asked
    data = PartitionData(
        high_watermark=6,
        records=memoryview(log.fetch(0, 9)),
        aborted_transactions=aborted,
    )
    topic = FetchableTopicResponse(topic="t", topic_id=TOPIC_ID, partitions=[data])
    machine.answered(ask.request_id, FetchResponse(responses=[topic]), at(0))
    offsets = []
    while (chunk := machine.take()) is not None:
        offsets += [record.offset for record in chunk.records]
    assert offsets == [1, 3, 5]
    assert machine.done


def test_a_partition_is_assigned_once() -> None:
    """Twice the same partition would give its records twice."""
    twice = [Assignment(TopicPartition("t", 0))] * 2
    with pytest.raises(ValueError, match="twice"):
        ReadMachine(twice, ReaderSettings(), ClientSettings(), a_cluster(), lambda: 0.5)


def test_a_deleted_topic_ends_the_reader() -> None:
    """Metadata that goes on not knowing the topic is believed after a few seconds."""
    machine, world = a_reader(a_log(1), AtOffset(0))
    unknown = metadata({}, error=E.UNKNOWN_TOPIC_OR_PARTITION)
    while not world.others and world.now_ms < 60_000:
        world.poll(machine)
        while world.asked:
            world.answer(machine, E.UNKNOWN_TOPIC_ID)
        machine.cluster.apply(unknown, all_topics=False)
        world.now_ms += 100
    [broken] = world.others
    assert isinstance(broken, Broken)
    assert isinstance(broken.error, KafkaError)
    assert "no longer there" in str(broken.error)
    assert world.now_ms < 10_000
