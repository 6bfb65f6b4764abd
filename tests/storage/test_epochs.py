"""Leader epochs: what they say of where histories part, and their file."""

import pytest

from storage.epochs import LeaderEpochs
from tests.storage.builders import a_batch, a_disk, a_log, append, sync


def some_epochs() -> LeaderEpochs:
    """Return epochs 2 from 0, 3 from 10, 7 from 20, with the log's end at 25."""
    epochs = LeaderEpochs(lambda: 25)
    for epoch, start in ((2, 0), (2, 5), (3, 10), (7, 20), (6, 22)):
        epochs.assign(epoch, start)
    return epochs


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (-1, (-1, -1)),
        (0, (0, 0)),
        (1, (1, 0)),
        (2, (2, 10)),
        (3, (3, 20)),
        (4, (3, 20)),
        (6, (3, 20)),
        (7, (7, 25)),
        (8, (-1, -1)),
    ],
)
def test_an_epoch_ends_where_the_next_begins(asked: int, answer: tuple[int, int]) -> None:
    """The largest known epoch up to the one asked for, and its end; unknown is (-1, -1)."""
    assert some_epochs().end_offset_for(asked) == answer


def test_an_empty_log_knows_no_epoch() -> None:
    """Nothing was written, so nothing is told."""
    assert LeaderEpochs(lambda: 0).latest == -1
    assert LeaderEpochs(lambda: 0).end_offset_for(0) == (-1, -1)


def test_epochs_are_cut_with_the_log() -> None:
    """At the end those that began there go; at the start the first kept begins there."""
    epochs = some_epochs()
    epochs.truncate_end(20)
    assert epochs.entries() == [(2, 0), (3, 10)]
    epochs.truncate_start(10)
    assert epochs.entries() == [(3, 10)]
    epochs.truncate_start(15)
    assert epochs.entries() == [(3, 15)]


def test_the_file_is_kafkas() -> None:
    """Version, count, one epoch and start a line; and it is read back."""
    epochs = some_epochs()
    assert epochs.encode() == b"0\n3\n2 0\n3 10\n7 20\n"
    copy = LeaderEpochs(lambda: 25)
    assert copy.load(epochs.encode())
    assert copy.entries() == epochs.entries()


@pytest.mark.parametrize(
    "data",
    [b"", b"1\n0\n", b"0\n2\n2 0\n", b"0\n1\n2 0", b"0\n1\n2 x\n", b"0\n1\n2\n", b"\xff\n",
     b"0\n2\n3 0\n2 10\n", b"0\n2\n2 10\n3 10\n"],
)  # fmt: skip
def test_a_damaged_file_is_not_taken(data: bytes) -> None:
    """Anything but rising pairs, counted right, is left alone."""
    epochs = some_epochs()
    assert not epochs.load(data)
    assert epochs.latest == 7


def test_the_log_keeps_epochs_over_a_lost_file() -> None:
    """Headers tell what the file does not."""
    disk = a_disk()
    log = a_log(disk)
    for epoch in (0, 0, 4, 4, 5):
        append(log, a_batch(2), leader_epoch=epoch)
    sync(log, indexes=True)
    disk.kill()
    path = f"{log.directory}/leader-epoch-checkpoint"
    assert disk.read_file(path) == b"0\n3\n0 0\n4 4\n5 8\n"
    disk.remove(path)
    assert a_log(disk, recovery_point=10).leader_epochs.entries() == [(0, 0), (4, 4), (5, 8)]
    disk.kill()
    disk.write_atomically(path, b"nonsense")
    log = a_log(disk, clean=True)
    assert log.leader_epochs.entries() == [(0, 0), (4, 4), (5, 8)]
    assert "leader-epoch-checkpoint is not readable" in log.recovered.warnings[0]
