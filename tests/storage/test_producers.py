"""Idempotent producers: no batch twice, no gap, no zombie."""

from __future__ import annotations

import pytest

from storage import InvalidProducerEpoch, OutOfOrderSequence
from storage.producers import PRODUCERS_MAX, SEQUENCES, Producers
from storage.records import CONTROL, BatchHeader, read_batch_header
from tests.storage.builders import a_batch, a_disk, a_log, append, sync


def a_header(
    sequence: int, *, count: int = 1, producer_epoch: int = 0, producer_id: int = 7
) -> BatchHeader:
    header = read_batch_header(
        a_batch(count, producer_id=producer_id, producer_epoch=producer_epoch, base_sequence=0)
    )
    return header._replace(base_sequence=sequence)


def original(producers: Producers, header: BatchHeader) -> int | None:
    """Return where the batch that this one repeats begins; None if it is new."""
    found = producers.check(header)
    return None if found is None else found.base_offset


def producers_after(*headers: BatchHeader) -> Producers:
    """Return the state after these batches, which took offsets 100, 110, 120 …"""
    producers = Producers()
    for number, header in enumerate(headers):
        assert producers.check(header) is None
        producers.appended(header, 100 + 10 * number, 5000)
    return producers


def test_a_repeated_batch_is_answered_with_its_first_offset() -> None:
    """Any of the last five is known again; the sixth last is out of order."""
    producers = producers_after(*(a_header(2 * n, count=2) for n in range(6)))
    for number in range(1, 6):
        assert original(producers, a_header(2 * number, count=2)) == 100 + 10 * number
    with pytest.raises(OutOfOrderSequence):
        producers.check(a_header(0, count=2))


def test_a_batch_cut_differently_is_no_duplicate() -> None:
    """First and last sequence must both match."""
    producers = producers_after(a_header(0, count=3))
    with pytest.raises(OutOfOrderSequence):
        producers.check(a_header(0, count=2))


def test_a_gap_is_refused() -> None:
    """The next sequence follows the last one, nothing else."""
    producers = producers_after(a_header(0, count=3))
    with pytest.raises(OutOfOrderSequence, match="expected is 3"):
        producers.check(a_header(4))
    assert producers.check(a_header(3)) is None


def test_an_unknown_producer_starts_anywhere() -> None:
    """Its earlier state may have expired (KIP-360)."""
    assert Producers().check(a_header(123)) is None


def test_without_an_epoch_no_order_is_asked_for() -> None:
    """As Kafka does with a producer id and epoch -1; a duplicate is one all the same."""
    without = [a_header(sequence, producer_epoch=-1) for sequence in (3, 9, 0)]
    producers = producers_after(*without)
    assert [original(producers, header) for header in without] == [100, 110, 120]
    later = a_header(7, producer_epoch=0)
    assert producers.check(later) is None
    producers.appended(later, 130, 5000)
    with pytest.raises(InvalidProducerEpoch):
        producers.check(without[0])


def test_a_newer_epoch_fences_the_older_and_starts_at_zero() -> None:
    """A zombie of an older epoch is refused, also with what it sent before."""
    producers = producers_after(a_header(0), a_header(1))
    with pytest.raises(OutOfOrderSequence, match="not 0"):
        producers.check(a_header(2, producer_epoch=1))
    fresh = a_header(0, producer_epoch=1)
    assert producers.check(fresh) is None
    producers.appended(fresh, 120, 5000)
    with pytest.raises(InvalidProducerEpoch):
        producers.check(a_header(1))
    assert original(producers, fresh) == 120


def test_a_producers_time_is_what_its_newest_batch_says() -> None:
    """Also where that lies before an earlier one; the node's own time is kept beside it."""
    late = a_header(1)._replace(max_timestamp=5)
    ((producer_id, state),) = producers_after(a_header(0), late).items()
    assert (producer_id, state.batches[-1].timestamp_ms, state.last_seen_ms) == (7, 5, 5000)


def test_sequences_wrap_to_zero() -> None:
    """After 2**31 - 1 comes 0, also in the middle of a batch."""
    last = SEQUENCES - 1
    producers = producers_after(a_header(last - 1, count=2), a_header(0, count=2))
    assert original(producers, a_header(last - 1, count=2)) == 100
    wrapping = producers_after(a_header(last, count=3))
    assert wrapping.check(a_header(2)) is None
    assert original(wrapping, a_header(last, count=3)) == 100
    copy = Producers()
    assert copy.load(wrapping.encode())
    assert original(copy, a_header(last, count=3)) == 100
    assert copy.check(a_header(2)) is None


def test_control_batches_have_no_sequence() -> None:
    """A marker neither is checked nor moves what is expected next."""
    producers = producers_after(a_header(0))
    marker = a_header(-1)._replace(attributes=CONTROL)
    assert producers.check(marker) is None
    producers.appended(marker, 110, 5000)
    assert producers.check(a_header(1)) is None


def test_silent_producers_expire() -> None:
    """After the configured silence a producer is forgotten, not before."""
    producers = producers_after(a_header(0))
    assert producers.expire(5999, 1000) == 0
    assert producers.expire(6000, 1000) == 1
    assert len(producers) == 0


def test_after_a_restart_silence_counts_anew() -> None:
    """What only the log told of is not older than the first look at it."""
    disk = a_disk()
    log = a_log(disk)
    append(log, a_batch(producer_id=7, producer_epoch=0, base_sequence=0), wall_ms=5000)
    disk.kill()
    producers = a_log(disk).producers
    assert producers.expire(9_000_000, 1000) == 0
    assert producers.expire(9_000_999, 1000) == 0
    assert producers.expire(9_001_000, 1000) == 1


def test_memory_for_producers_is_bounded() -> None:
    """Whoever invents producer ids pushes out the longest silent ones, not memory's end."""
    producers, header = Producers(), a_header(0)
    for producer_id in range(PRODUCERS_MAX + 10):
        # Times are no help: what was rebuilt from the log has none.
        producers.appended(header._replace(producer_id=producer_id), producer_id, -producer_id)
    assert len(producers) <= PRODUCERS_MAX
    assert 0 not in producers
    assert PRODUCERS_MAX + 9 in producers


def test_a_snapshot_gives_all_five_batches_back() -> None:
    """Entry by entry in Kafka's layout; the last entry of a producer is its newest batch."""
    producers = producers_after(*(a_header(n) for n in range(9)))
    data = producers.encode()
    assert data[:2] == b"\x00\x01"
    assert data[6:10] == b"\x00\x00\x00\x05"
    assert len(data) == 10 + 5 * 46
    copy = Producers()
    assert copy.load(data)
    assert [original(copy, a_header(n)) for n in range(4, 9)] == [140, 150, 160, 170, 180]
    assert copy.check(a_header(9)) is None
    assert copy.encode() == data


def test_a_damaged_snapshot_is_not_taken() -> None:
    """Any flipped bit or cut is noticed, and nothing is taken over."""
    data = producers_after(a_header(0)).encode()
    for position in range(len(data)):
        bad = bytearray(data)
        bad[position] ^= 1
        assert not Producers().load(bytes(bad))
        assert not Producers().load(data[:position])


def test_duplicates_are_known_after_kill_and_clean_end_alike() -> None:
    """All five batches in flight are told apart from new ones after any restart."""
    for clean in (True, False):
        disk = a_disk()
        log = a_log(disk)
        for number in range(7):
            append(log, a_batch(producer_id=7, producer_epoch=0, base_sequence=number))
            if number == 4:
                sync(log, indexes=True)
        if clean:
            log.close(clean=True)
        disk.kill()
        log = a_log(disk, clean=clean, recovery_point=5)
        assert [original(log.producers, a_header(n)) for n in range(2, 7)] == [2, 3, 4, 5, 6]
        assert log.producers.check(a_header(7)) is None
        assert log.recovered.warnings == []
