"""What every disk must do: the same truths for the machine's own and for the simulated one."""

import tempfile
from collections.abc import Iterator

import pytest

from simulations.disk import SimulatedDisk
from storage.disk import Disk, DiskError, FileSlice, Locked, Missing, OsDisk


class Place:
    """A disk, and a directory on it to work in."""

    def __init__(self, disk: Disk, directory: str) -> None:
        self.disk = disk
        self.directory = directory

    def __call__(self, name: str) -> str:
        return f"{self.directory}/{name}"


@pytest.fixture(params=["os", "simulated"])
def at(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "simulated":
        disk = SimulatedDisk(seed=1)
        disk.make_directory("/data")
        yield Place(disk, "/data")
    else:
        with tempfile.TemporaryDirectory() as directory:
            yield Place(OsDisk(), directory)


def test_what_is_appended_is_read_back(at: Place) -> None:
    """Parts land one after the other at the end, and reads at the end come up short."""
    file = at.disk.open(at("f"), create=True)
    file.append((b"abc",))
    file.append((b"de", bytearray(b"fg"), memoryview(b"hi")))
    assert file.size == 9
    assert file.read(0, 100) == b"abcdefghi"
    assert file.read(2, 3) == b"cde"
    assert file.read(9, 1) == b""
    assert at.disk.open(at("f")).size == 9


def test_more_parts_than_one_call_takes_are_all_written(at: Place) -> None:
    """No part is lost when there are more of them than the operating system takes at once."""
    file = at.disk.open(at("f"), create=True)
    file.append([bytes([number % 256]) for number in range(5000)])
    assert file.read(0, 6000) == bytes(number % 256 for number in range(5000))


def test_a_cached_read_is_the_same_as_a_read(at: Place) -> None:
    """What needs no disk is returned at once and is what a plain read returns."""
    file = at.disk.open(at("f"), create=True)
    file.append((b"abcdef",))
    found = file.read_if_cached(1, 3)
    assert found is not None
    assert bytes(found) == b"bcd"
    short = file.read_if_cached(4, 30)
    assert short is not None
    assert bytes(short) == b"ef"


def test_a_file_is_cut_and_goes_on_from_there(at: Place) -> None:
    """After a cut the next append begins where the file ends now."""
    file = at.disk.open(at("f"), create=True)
    file.append((b"abcdef",))
    file.truncate(2)
    file.append((b"xy",))
    file.sync()
    assert file.read(0, 10) == b"abxy"


def test_a_rewrite_changes_nothing_to_be_seen(at: Place) -> None:
    """Writing the tail again leaves every byte and the size as they were."""
    file = at.disk.open(at("f"), create=True)
    file.append((b"abcdef" * 1000,))
    file.rewrite(7)
    assert file.size == 6000
    assert file.read(0, 9999) == b"abcdef" * 1000


def test_a_removed_file_stays_readable_for_who_holds_it(at: Place) -> None:
    """A slice that is being sent outlives closing, removing and replacing its file."""
    file = at.disk.open(at("f"), create=True)
    file.append((b"abcdef",))
    part = FileSlice(file, 1, 4)
    file.close()
    at.disk.remove(at("f"))
    del file
    at.disk.open(at("f"), create=True).append((b"something else",))
    assert len(part) == 4
    assert part.read() == b"bcde"
    assert bytes(part.read_if_cached() or b"") == b"bcde"


def test_a_slice_of_a_file_that_was_cut_is_an_error(at: Place) -> None:
    """A slice never returns fewer bytes than it promised."""
    file = at.disk.open(at("f"), create=True)
    file.append((b"abcdef",))
    part = FileSlice(file, 1, 4)
    file.truncate(3)
    with pytest.raises(DiskError):
        part.read()


def test_a_closed_file_takes_no_appends(at: Place) -> None:
    """Appending through a closed handle is refused with a typed error."""
    file = at.disk.open(at("f"), create=True)
    file.close()
    with pytest.raises(DiskError):
        file.append((b"a",))


def test_a_missing_file_is_a_typed_error(at: Place) -> None:
    """Opening, sharing, listing and reading what is not there all say Missing."""
    for attempt in (at.disk.open, at.disk.open_cached, at.disk.list_directory, at.disk.read_file):
        with pytest.raises(Missing) as caught:
            attempt(at("nothing"))
        assert caught.value.path == at("nothing")
    with pytest.raises(Missing):
        at.disk.rename(at("nothing"), at("else"))


def test_names_are_listed_made_renamed_and_removed(at: Place) -> None:
    """Directories and files appear, move and go as asked; removing twice is fine."""
    at.disk.make_directory(at("d"))
    at.disk.make_directory(at("d"))
    at.disk.open(at("d/b"), create=True).append((b"b",))
    at.disk.open(at("d/a"), create=True)
    assert at.disk.list_directory(at("d")) == ["a", "b"]
    at.disk.rename(at("d/b"), at("d/a"))
    assert at.disk.list_directory(at("d")) == ["a"]
    assert at.disk.read_file(at("d/a")) == b"b"
    at.disk.sync_directory(at("d"))
    at.disk.rename(at("d"), at("e"))
    assert not at.disk.exists(at("d"))
    assert at.disk.read_file(at("e/a")) == b"b"
    for _ in range(2):
        at.disk.remove_tree(at("e"))
        at.disk.remove(at("e"))
    assert at.disk.list_directory(at.directory) == []


def test_a_shared_file_follows_its_name(at: Place) -> None:
    """After a rename or removal the name means the new file, never the one shared before."""
    at.disk.make_directory(at("d"))
    at.disk.open(at("d/f"), create=True).append((b"old",))
    assert at.disk.open_cached(at("d/f")).read(0, 9) == b"old"
    at.disk.rename(at("d"), at("gone"))
    at.disk.make_directory(at("d"))
    at.disk.open(at("d/f"), create=True).append((b"new",))
    assert at.disk.open_cached(at("d/f")).read(0, 9) == b"new"
    at.disk.remove(at("d/f"))
    with pytest.raises(Missing):
        at.disk.open_cached(at("d/f"))
    at.disk.open(at("d/f"), create=True).append((b"newest",))
    assert at.disk.open_cached(at("d/f")).read(0, 9) == b"newest"


def test_shared_files_outlive_being_let_go(at: Place) -> None:
    """A shared file that made room for others still reads, and its name opens again."""
    names = [at(f"f{number}") for number in range(300)]
    for name in names:
        at.disk.open(name, create=True).append((name.encode(),))
    held = [at.disk.open_cached(name) for name in names]
    assert [file.read(0, 999).decode() for file in held] == names
    assert at.disk.open_cached(names[0]).read(0, 999).decode() == names[0]


def test_an_atomic_write_replaces_the_whole(at: Place) -> None:
    """The file holds the new content and no temporary file is left."""
    at.disk.write_atomically(at("f"), b"a longer first content")
    at.disk.write_atomically(at("f"), b"second")
    assert at.disk.read_file(at("f")) == b"second"
    assert at.disk.list_directory(at.directory) == ["f"]


def test_a_lock_is_held_once(at: Place) -> None:
    """A second lock on one path is refused until the first is released."""
    lock = at.disk.lock(at("lock"))
    with pytest.raises(Locked):
        at.disk.lock(at("lock"))
    lock.release()
    lock.release()
    at.disk.lock(at("lock")).release()


def test_free_space_is_told(at: Place) -> None:
    """A disk that can be written to has free bytes."""
    assert at.disk.free_bytes(at.directory) > 0


def test_the_size_of_the_disk_is_told(at: Place) -> None:
    """What is free is a part of the whole; a path that is not there has no disk."""
    assert at.disk.free_bytes(at.directory) <= at.disk.total_bytes(at.directory)
    at.disk.open(at("f"), create=True).append((b"x" * 10_000,))
    assert at.disk.free_bytes(at.directory) < at.disk.total_bytes(at.directory)
    with pytest.raises(Missing):
        at.disk.total_bytes(at("nowhere"))
