"""The log against a naive memory of it: a list of batches and nothing clever."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest

from simulations.disk import SimulatedDisk
from storage import (
    Codec,
    DiskFull,
    Log,
    LogConfig,
    OffsetOutOfRange,
    Record,
    SyncFailed,
    WrongTopicId,
    build_batch,
    read_batch_header,
    read_records,
)
from storage.checkpoints import RECOVERY_POINTS, read_offsets, write_offsets
from storage.recovery import OFFSET_MAX
from tests.storage.builders import DATA, a_batch, a_disk, a_log, append, content, sync

SMALL = LogConfig(segment_bytes=3000, index_interval_bytes=250, retention_ms=-1)


@dataclass
class Oracle:
    """Batches in a list; every question is answered by looking at all of them."""

    batches: list[bytes] = field(default_factory=list)
    start: int = 0
    end: int = 0

    def headers(self) -> list[tuple[int, int, bytes]]:
        return [
            (header.base_offset, header.last_offset, batch)
            for batch in self.batches
            for header in [read_batch_header(batch)]
        ]

    def append(self, batch: bytearray) -> None:
        self.batches.append(bytes(batch))
        self.end = read_batch_header(batch).last_offset + 1

    def first_read(self, offset: int, end_offset: int) -> bytes | None:
        for _, last, batch in self.headers():
            if last >= offset:
                return batch if last < end_offset else None
        return None

    def offset_for_time(self, time: int, end_offset: int) -> tuple[int, int] | None:
        for _, _, batch in self.headers():
            for record in read_records(batch):
                if record.timestamp_ms >= time and record.offset >= self.start:
                    found = record.offset, record.timestamp_ms
                    return found if record.offset < end_offset else None
        return None

    def max_timestamp(self) -> tuple[int, int] | None:
        kept = [
            record
            for batch in self.batches
            for record in read_records(batch)
            if record.offset >= self.start
        ]
        if not kept:
            return None
        newest = max(record.timestamp_ms for record in kept)
        first = next(record for record in kept if record.timestamp_ms == newest)
        return first.offset, newest

    def truncate(self, end_offset: int) -> None:
        self.batches = [batch for _, last, batch in self.headers() if last < end_offset]
        self.end = 0
        if self.batches:
            self.end = read_batch_header(self.batches[-1]).last_offset + 1


def a_random_batch(chance: random.Random) -> bytearray:
    count = chance.randrange(1, 8)
    return build_batch(
        [
            Record(-1, chance.randrange(1, 5000), None, chance.randbytes(chance.randrange(150)))
            for _ in range(count)
        ],
        codec=chance.choice(list(Codec)),
    )


def check_reads(log: Log, oracle: Oracle, chance: random.Random) -> None:
    for _ in range(15):
        offset = chance.randrange(oracle.start, oracle.end + 1)
        end_offset = chance.randrange(oracle.start, oracle.end + 3)
        bytes_max = chance.choice((1, 200, 1000, 1 << 20))
        parts = log.read(offset, bytes_max, end_offset)
        first = oracle.first_read(offset, end_offset) if offset < end_offset else None
        if first is None:
            assert parts == []
            continue
        (part,) = parts
        data = part.read()
        assert data.startswith(first)
        assert len(data) <= bytes_max or data == first
        assert data in b"".join(oracle.batches)
        last, position = -1, 0
        while position < len(data):
            header = read_batch_header(data, position)
            position += header.batch_size
            last = header.last_offset
        assert last < end_offset
        following = oracle.first_read(last + 1, end_offset)
        if following is not None:  # What stopped it was the limit, or the segment's end.
            ends_segment = any(s.base_offset == last + 1 for s in log._segments)
            assert len(data) + len(following) > bytes_max or ends_segment


def check_times(log: Log, oracle: Oracle, chance: random.Random) -> None:
    for _ in range(5):
        time = chance.randrange(5200)
        end_offset = chance.randrange(oracle.start, oracle.end + 2)
        assert log.offset_for_time(time, end_offset) == oracle.offset_for_time(time, end_offset)
    assert log.max_timestamp() == oracle.max_timestamp()


@pytest.mark.parametrize("seed", range(60))
def test_the_log_says_what_a_list_of_batches_says(seed: int) -> None:
    """Appends, reads, look-ups, cuts and reopenings agree with looking at every batch."""
    chance = random.Random(seed)
    disk = a_disk(seed)
    log, oracle = a_log(disk, config=SMALL), Oracle()
    for _ in range(60):
        match chance.randrange(14):
            case 0 if oracle.end > oracle.start:
                end_offset = chance.randrange(oracle.start, oracle.end + 1)
                log.truncate(end_offset)
                oracle.truncate(end_offset)
                oracle.start = min(oracle.start, oracle.end)
                sync(log)
            case 1:
                oracle.start = chance.randrange(oracle.start, oracle.end + 1)
                log.delete_before(oracle.start)
            case 2:
                log.close(clean=True)
                disk.crash()
                log = a_log(disk, config=SMALL, clean=True, log_start_offset=oracle.start)
            case 3:
                sync(log)
            case 4 | 5:
                check_reads(log, oracle, chance)
                check_times(log, oracle, chance)
            case _:
                batch = a_random_batch(chance)
                assert append(log, batch) == oracle.end
                oracle.append(batch)
        assert (log.log_start_offset, log.log_end_offset) == (oracle.start, oracle.end)
        assert log.size_bytes >= sum(
            len(batch) for _, last, batch in oracle.headers() if last >= oracle.start
        )
    check_reads(log, oracle, chance)
    check_times(log, oracle, chance)


def test_a_directory_appears_at_the_first_append() -> None:
    """An empty log leaves nothing on the disk."""
    disk = a_disk()
    log = a_log(disk)
    assert log.begin_sync() is None
    log.close(clean=True)
    assert log.delete()() is None
    assert disk.list_directory(DATA) == []
    append(a_log(disk), a_batch())
    assert disk.list_directory(DATA) == ["orders-3"]


def test_a_directory_without_a_segment_goes_with_its_log() -> None:
    """A crash may leave one; the next topic of the name must not find it."""
    disk = a_disk()
    append(log := a_log(disk), a_batch())
    disk.remove(f"{log.directory}/00000000000000000000.log")
    disk.kill()
    a_log(disk).delete()()
    assert disk.list_directory(DATA) == []
    assert append(a_log(disk, topic_id=bytes(16)), a_batch()) == 0


def test_another_topic_of_the_same_name_is_refused() -> None:
    """A directory with another topic id is never appended to, nor read."""
    disk = a_disk()
    log = a_log(disk)
    append(log, a_batch())
    sync(log)
    with pytest.raises(WrongTopicId, match="orders-3 belongs to topic id"):
        a_log(disk, topic_id=bytes(16))


def test_reads_outside_the_log_are_refused() -> None:
    """Below the start and above the end there is a typed error, at the end nothing."""
    log = a_log()
    append(log, a_batch(5))
    append(log, a_batch(5))
    log.delete_before(3)
    assert log.read(10, 100, 10) == []
    for offset in (2, 11, -1):
        with pytest.raises(OffsetOutOfRange):
            log.read(offset, 100, 10)
    for offset in (11, -1):
        with pytest.raises(OffsetOutOfRange):
            log.delete_before(offset)
    with pytest.raises(OffsetOutOfRange):
        log.truncate(2)


def test_a_full_disk_leaves_the_log_as_it_was() -> None:
    """An append that does not fit changes nothing, and succeeds once there is room."""
    disk = a_disk()
    log = a_log(disk)
    append(log, a_batch(2))
    before = content(log)
    disk.bytes_free = 30
    for _ in range(2):
        with pytest.raises(DiskFull):
            append(log, a_batch(2))
    assert (log.log_end_offset, content(log)) == (2, before)
    disk.bytes_free = 1 << 20
    assert append(log, a_batch(2)) == 2


def test_a_disk_full_from_the_start_can_be_tried_again() -> None:
    """A first append that made a directory but no record is simply made again."""
    disk = a_disk()
    log = a_log(disk)
    for free in (0, 60):
        disk.bytes_free = free
        with pytest.raises(DiskFull):
            append(log, a_batch(2))
    disk.bytes_free = 1 << 20
    assert append(log, a_batch(2)) == 0
    sync(log)
    disk.crash()
    assert a_log(disk).log_end_offset == 2


def test_synced_end_moves_only_when_a_sync_has_ended() -> None:
    """It covers what was appended when the sync began, not what came in between."""
    log = a_log()
    append(log, a_batch(3))
    ticket = log.begin_sync()
    assert ticket is not None
    assert log.begin_sync() is None
    append(log, a_batch(2))
    ticket.run()
    assert log.synced_end == 0
    log.finish_sync(ticket)
    assert log.synced_end == 3
    sync(log)
    assert log.synced_end == 5
    assert log.begin_sync() is None


def test_a_sync_that_a_cut_overtook_promises_nothing() -> None:
    """After a cut the end that an older sync covered is not taken for the new log's."""
    log = a_log()
    append(log, a_batch(3))
    append(log, a_batch(3))
    ticket = log.begin_sync()
    assert ticket is not None
    log.truncate(3)
    append(log, a_batch(5))
    ticket.run()
    log.finish_sync(ticket)
    assert log.synced_end == 0
    sync(log)
    assert log.synced_end == 8


def test_tickets_that_come_back_out_of_order_promise_in_order() -> None:
    """The end moves only with all earlier tickets: each covers what those before do not."""
    log = a_log(config=LogConfig(segment_bytes=200))
    tickets = []
    for _ in range(3):
        for _ in range(3):
            append(log, a_batch())
        ticket = log.begin_sync()
        assert ticket is not None
        tickets.append(ticket)
    ends = []
    for number in (2, 0, 1):
        tickets[number].run()
        log.finish_sync(tickets[number])
        ends.append((log.synced_end, log.recovery_point))
    assert ends == [(0, 0), (3, 3), (9, 9)]


def test_a_ticket_of_a_deleted_log_leaves_its_namesake_alone() -> None:
    """A sync that was under way when the topic went writes nothing into the next one's files."""
    disk = a_disk()
    log = a_log(disk)
    append(log, a_batch(5), leader_epoch=9)
    ticket = log.begin_sync(indexes=True)
    assert ticket is not None
    log.delete()
    again = a_log(disk, topic_id=bytes(16))
    append(again, a_batch())
    before = disk.list_directory(again.directory)
    ticket.run()
    log.finish_sync(ticket)
    assert disk.list_directory(again.directory) == before


def test_a_full_disk_does_not_end_syncs() -> None:
    """What was appended still gets to the disk; only the recovery point waits for room."""
    disk = a_disk()
    write_offsets(disk, DATA, RECOVERY_POINTS, {("orders", 3): 1000})
    log = a_log(disk)
    append(log, a_batch(5))
    disk.bytes_free = -1000  # Removing a small file does not make room.
    sync(log, indexes=True)
    assert (log.synced_end, log.recovery_point) == (5, 0)
    with pytest.raises(DiskFull):
        log.close(clean=True)
    disk.crash()
    assert read_offsets(disk, DATA, RECOVERY_POINTS) == ({}, None)
    log = a_log(disk)
    assert log.log_end_offset == 5
    disk.bytes_free = 1 << 20
    sync(log, indexes=True)
    assert (log.synced_end, log.recovery_point) == (5, 5)
    log.close(clean=True)
    assert a_log(disk, clean=True).leader_epochs.entries() == [(0, 0)]


def test_a_failed_sync_is_said_so() -> None:
    """It raises SyncFailed and moves nothing."""
    disk = a_disk()
    log = a_log(disk)
    append(log, a_batch(3))
    disk.syncs_fail = True
    ticket = log.begin_sync()
    assert ticket is not None
    with pytest.raises(SyncFailed):
        ticket.run()
    assert log.synced_end == 0


def test_a_segment_is_rolled_by_size_and_by_time() -> None:
    """No segment outgrows its bytes, and none spans more time than allowed."""
    size = len(a_batch())
    log = a_log(config=LogConfig(segment_bytes=2 * size, segment_ms=1000))
    for time in (10, 11, 12, 1012, 1013, 900):
        append(log, a_batch(times=[time]))
    assert [segment.base_offset for segment in log._segments] == [0, 2, 4]
    log.config = replace(log.config, segment_bytes=1 << 20)
    append(log, a_batch(times=[2014]))
    assert [segment.base_offset for segment in log._segments] == [0, 2, 4, 6]


def test_a_batch_larger_than_a_segment_gets_its_own() -> None:
    """Whoever lets such a batch through finds it whole."""
    log = a_log(config=LogConfig(segment_bytes=100))
    append(log, a_batch())
    append(log, a_batch(value=bytes(5000)))
    append(log, a_batch())
    assert [segment.base_offset for segment in log._segments] == [0, 1, 2]
    (part,) = log.read(1, 1, 3)
    assert len(part) > 5000


def an_old_log(disk: SimulatedDisk) -> Log:
    """Return a log of four segments with two records each, at times 100, 200, 300, 400."""
    log = a_log(disk, config=LogConfig(segment_bytes=100))
    for time in (100, 200, 300, 400):
        append(log, a_batch(2, times=[time, time], value=bytes(50)))
    return log


def test_retention_by_time_drops_whole_old_segments() -> None:
    """What is too old goes from the start; slices being sent stay valid."""
    disk = a_disk()
    log = an_old_log(disk)
    log.config = replace(log.config, retention_ms=1000)
    (part,) = log.read(0, 1 << 20, 8)
    assert log.apply_retention(1100, 8) == []
    (remove,) = log.apply_retention(1250, 8)
    assert (log.log_start_offset, log.log_end_offset) == (4, 8)
    remove()
    assert len(part.read()) == len(part)
    with pytest.raises(OffsetOutOfRange):
        log.read(3, 1, 8)
    sync(log)
    disk.crash()
    assert a_log(disk).log_start_offset == 4


def test_retention_never_passes_the_high_watermark() -> None:
    """What is not yet committed stays, however old."""
    log = an_old_log(a_disk())
    log.config = replace(log.config, retention_ms=1)
    log.apply_retention(OFFSET_MAX, 5)
    assert log.log_start_offset == 4


def test_offsets_go_on_after_everything_expired() -> None:
    """A log whose last record expired does not begin again at 0, crash or not."""
    disk = a_disk()
    log = an_old_log(disk)
    sync(log, indexes=True)
    log.config = replace(log.config, retention_ms=1)
    for remove in log.apply_retention(10_000, 8):
        remove()
    assert (log.log_start_offset, log.log_end_offset, log.size_bytes) == (8, 8, 0)
    assert log.apply_retention(20_000, 8) == []
    disk.crash()
    log = a_log(disk, recovery_point=8)
    assert (log.log_start_offset, log.log_end_offset) == (8, 8)
    assert append(log, a_batch()) == 8


def test_retention_by_size_leaves_at_least_what_was_asked() -> None:
    """Oldest segments go while the rest still holds the configured bytes."""
    log = an_old_log(a_disk())
    size = log.size_bytes // 4
    log.config = replace(log.config, retention_ms=-1, retention_bytes=2 * size + 1)
    log.apply_retention(0, 8)
    assert log.log_start_offset == 2
    assert log.size_bytes == 3 * size


def test_deleted_records_stay_deleted() -> None:
    """With the checkpoint a restart begins where DeleteRecords left; segments below go."""
    disk = a_disk()
    log = an_old_log(disk)
    log.config = replace(log.config, retention_ms=-1)
    log.delete_before(5)
    log.delete_before(4)
    assert log.log_start_offset == 5
    sync(log)
    disk.crash()
    log = a_log(disk, log_start_offset=5)
    assert log.log_start_offset == 5
    assert [segment.base_offset for segment in log._segments] == [4, 6]
    assert log.offset_for_time(0, 8) == (5, 300)


def test_a_deleted_log_is_renamed_then_removed() -> None:
    """The name is free at once, the files go later, and slices stay valid until then."""
    disk = a_disk()
    log = an_old_log(disk)
    sync(log, indexes=True)
    (part,) = log.read(0, 1 << 20, 8)
    remove = log.delete()
    (name,) = disk.list_directory(DATA)
    assert name.startswith("orders-3.")
    assert name.endswith("-delete")
    again = a_log(disk, topic_id=bytes(16))
    assert append(again, a_batch()) == 0
    remove()
    assert disk.list_directory(DATA) == ["orders-3"]
    assert len(part.read()) == len(part)


def test_a_mangled_batch_does_not_break_the_look_up_by_time() -> None:
    """Records that a client mangled under a right checksum are answered as a batch."""
    log = a_log()
    good = a_batch(2, times=[10, 20])
    mangled = bytearray(build_batch([Record(-1, 30, None, b"abc")], codec=0))
    mangled[23:27] = (0).to_bytes(4, "big")
    mangled[61:] = b"\xff" * (len(mangled) - 61)
    append(log, good)
    append(log, mangled)
    assert log.offset_for_time(25, 3) == (2, 30)
