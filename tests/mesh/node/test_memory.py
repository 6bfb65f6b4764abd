"""What a node remembers of its membership from one start to the next."""

from __future__ import annotations

from uuid import UUID

import pytest

from mesh.node.memory import (
    FILE_NAME,
    PEERS_MAX,
    BadMemoryError,
    Memory,
    Place,
    read_memory,
    write_memory,
)
from simulations.disk import SimulatedDisk


def a_disk(text: str | None = None) -> SimulatedDisk:
    disk = SimulatedDisk(seed=1)
    disk.make_directory("/d")
    if text is not None:
        disk.write_atomically(f"/d/{FILE_NAME}", text.encode())
    return disk


def test_what_was_written_is_read() -> None:
    """A start and its peers are there at the next start; none twice, and not too many."""
    disk = a_disk()
    assert read_memory(disk, "/d") == Memory()
    write_memory(disk, "/d", Memory(3, ("h:1", "[::1]:2", "h:1")))
    assert read_memory(disk, "/d") == Memory(3, ("h:1", "[::1]:2"))
    write_memory(disk, "/d", Memory(4, tuple(f"h:{port}" for port in range(200))))
    assert len(read_memory(disk, "/d").peers) == PEERS_MAX


def test_who_was_a_member_is_read() -> None:
    """Members are there at the next start as placement saw them; earlier releases wrote none."""
    disk = a_disk()
    places = (
        Place(1, str(UUID(int=7)), "h:1", None, "vm", 100),
        Place(2, str(UUID(int=8)), "[::1]:2", 'a "rack"', "", 0),
    )
    write_memory(disk, "/d", Memory(3, ("h:1",), places))
    assert read_memory(disk, "/d") == Memory(3, ("h:1",), places)
    assert read_memory(a_disk('start = 1\npeers = ["h:1"]'), "/d") == Memory(1, ("h:1",))


def test_a_start_is_durable_before_it_is_used() -> None:
    """After a crash the counter is what was written, or an older start would be believed."""
    disk = a_disk()
    write_memory(disk, "/d", Memory(7, ()))
    disk.crash()
    assert read_memory(disk, "/d").start == 7


@pytest.mark.parametrize(
    "text",
    [
        "start = ",
        "peers = []",
        'start = "1"\npeers = []',
        "start = 0\npeers = []",
        "start = true\npeers = []",
        "start = 1",
        "start = 1\npeers = [1]",
        'start = 1\npeers = [""]',
        "start = 1\npeers = []\nmembers = 1",
        "start = 1\npeers = []\nmembers = [1]",
        'start = 1\npeers = []\nmembers = [[1, "x", "h:1", "", "", 100]]',
        f'start = 1\npeers = []\nmembers = [[0, "{UUID(int=7)}", "h:1", "", "", 100]]',
        f'start = 1\npeers = []\nmembers = [[true, "{UUID(int=7)}", "h:1", "", "", 100]]',
        f'start = 1\npeers = []\nmembers = [[1, "{UUID(int=7)}", "", "", "", 100]]',
        f'start = 1\npeers = []\nmembers = [[1, "{UUID(int=7)}", "h:1", "", "", -1]]',
    ],
)
def test_damage_is_told(text: str) -> None:
    """A file that does not say both is damaged, by name; nothing is made up."""
    with pytest.raises(BadMemoryError, match=FILE_NAME):
        read_memory(a_disk(text), "/d")
