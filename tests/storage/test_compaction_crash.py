"""A crash at any point of a compaction leaves the old segments or the new ones, never halves."""

from __future__ import annotations

import pytest

from simulations.disk import SimulatedCrash
from storage import Log, Record
from storage.disk import SyncFailed
from tests.storage.builders import a_log
from tests.storage.test_compaction import CONFIG, NOW_MS, Oracle, compact, records, roll

STEPS_MAX = 400


def a_story(seed: int) -> Oracle:
    """Return a log of some ten segments, all on disk, a part of it compacted already."""
    story = Oracle(seed)
    for number in range(3):
        for _ in range(15):
            story.append()
        roll(story.log)
        if number == 1:
            compact(story.log, story.wall_ms)
        story.wall_ms += 600
    story.cleaned_end = story.log.log_end_offset  # As far as the next run may come.
    return story


def reopen(story: Oracle, recovery_point: int, cleaned_end: int) -> None:
    """Open the log again, as the next start of the node would."""
    story.log = a_log(
        story.disk, config=CONFIG, recovery_point=recovery_point, cleaned_end=cleaned_end
    )


def check(story: Oracle, log: Log, end: int) -> None:
    """Nothing of what was on disk is lost, and nothing half-done is left."""
    assert log.log_end_offset == end
    assert log.recovered.warnings == []
    log.verify()
    story.check()
    names = story.disk.list_directory(log.directory)
    assert [name for name in names if name.endswith((".swap", ".cleaned"))] == []
    bases = [int(name[:20]) for name in names if name.endswith(".log")]
    assert bases == [segment.base_offset for segment in log._segments]


@pytest.mark.parametrize("seed", range(4))
def test_a_crash_after_any_change_of_the_disk_leaves_a_whole_log(seed: int) -> None:
    """Every point of a run is tried; then the log is compacted, and is as if never interrupted."""
    steps = 0
    while steps < STEPS_MAX:
        story = a_story(seed)
        end, cleaned, point = story.log.log_end_offset, story.log.cleaned_end, seed % 3
        recovery_point = (0, cleaned, story.log.recovery_point)[point]
        story.disk.crash_after = steps
        try:
            compact(story.log, story.wall_ms)
            # And all of it once more, at once: nothing has synced the last change of names.
            story.log.cleaned_end = 0
            compact(story.log, story.wall_ms + 2000)
        except SimulatedCrash:
            story.disk.crash()
            if steps % 3 == 0:  # And again, in the midst of the repair.
                story.disk.crash_after = steps % 11
                try:
                    reopen(story, recovery_point, cleaned)
                except SimulatedCrash:
                    pass  # The next start begins with what this one left.
                story.disk.crash()
            reopen(story, recovery_point, cleaned)
            check(story, story.log, end)
            roll(story.log)
            compact(story.log, story.wall_ms + 5000)
            story.check()
            story.check_cleaned()
            steps += 1
        else:
            assert steps > 20
            return
    raise AssertionError("a compaction makes fewer changes of the disk")


@pytest.mark.parametrize("seed", range(40))
def test_a_run_that_is_cut_short_leaves_a_log_that_goes_on(seed: int) -> None:
    """Cut, closed or cancelled between two steps, the log holds all that it should."""
    story = a_story(seed)
    log = story.log
    end, cleaned = log.log_end_offset, log.cleaned_end
    dirt = log.dirt(story.wall_ms, end - 20)
    assert dirt is not None
    run = log.begin_compaction(dirt, story.wall_ms, key_map_bytes=1 << 20)
    for _ in range(seed % 5):
        run.step()
        log.swap(run)
    match story.chance.randrange(4):
        case 0:
            run.step()  # It is ready, but was never put in place.
            log.close(clean=True)
        case 1:
            log.close(clean=False)
        case 2:
            run.cancel()
            run.step()
            log.swap(run)
            assert log.compaction is None or run.is_done
        case _:
            log.truncate(end - 1)
            run.step()
            log.swap(run)
            assert log.compaction is None
            end = log.log_end_offset
            story.epochs = [entry for entry in story.epochs if entry[1] < end]
            log.close(clean=True)
    story.disk.crash()
    log = story.log = a_log(
        story.disk, config=CONFIG, recovery_point=min(cleaned, end), cleaned_end=min(cleaned, end)
    )
    check(story, log, end)


def test_a_log_that_is_deleted_meanwhile_gets_no_new_files() -> None:
    """Its directory's name may be another topic's, whose files a run must not touch."""
    story = a_story(1)
    log = story.log
    dirt = log.dirt(story.wall_ms, log.log_end_offset)
    assert dirt is not None
    run = log.begin_compaction(dirt, story.wall_ms, key_map_bytes=1 << 20)
    run.step()
    log.swap(run)
    log.delete()
    fresh = a_log(story.disk, topic_id=bytes(16), config=CONFIG)
    story.disk.make_directory(fresh.directory)
    run.step()
    log.swap(run)
    assert run.is_done
    assert story.disk.list_directory(fresh.directory) == []


def test_a_full_disk_ends_a_run_and_leaves_the_log_as_it_was() -> None:
    """The next run, with room, does the work."""
    story = a_story(2)
    before = records(story.log)
    story.disk.bytes_free = 10
    run = compact(story.log, story.wall_ms)
    assert run is not None
    assert run.error is not None
    assert not run.is_damaged
    assert records(story.log) == before
    story.disk.bytes_free = 1 << 30
    run = compact(story.log, story.wall_ms)
    assert run is not None
    assert run.error is None
    story.check()
    story.check_cleaned()


def test_a_failed_sync_is_no_error_to_live_with() -> None:
    """It ends the node, as everywhere: nothing may be believed of the page cache any more."""
    story = a_story(3)
    story.disk.syncs_fail = True
    with pytest.raises(SyncFailed):
        compact(story.log, story.wall_ms)


def test_an_altered_batch_is_never_written_anew() -> None:
    """A new checksum would hide the damage; the log stays and is not compacted any more."""
    story = a_story(4)
    log = story.log
    segment = next(s for s in log._segments if s.base_offset >= log.cleaned_end)
    before: list[Record] = records(log)
    story.disk.flip_bit(segment.path, 70)
    run = compact(log, NOW_MS)
    assert run is not None
    assert run.is_damaged
    assert "altered" in (log.compaction_error or "")
    story.disk.flip_bit(segment.path, 70)
    assert records(log) == before
    assert log.dirt(NOW_MS, log.log_end_offset) is None
