"""A data directory says whose it is, or says clearly why it does not."""

from uuid import UUID

import pytest

from storage.errors import BadMeta, NewerFormat
from storage.meta import Meta, read_meta, write_meta
from tests.storage.builders import DATA, a_disk

META = Meta(cluster_id=UUID(int=7), directory_id=UUID(int=8), node_id=3, version="0.1.0")
GOOD = (
    f'format = 1\ncluster_id = "{UUID(int=7)}"\ndirectory_id = "{UUID(int=8)}"\n'
    'node_id = 3\nversion = "0.1.0"\n'
)


def test_what_is_written_is_read() -> None:
    """Identity survives a crash right after it was written."""
    disk = a_disk()
    assert read_meta(disk, DATA) is None
    write_meta(disk, DATA, META)
    disk.crash()
    assert read_meta(disk, DATA) == META


def test_a_newer_format_is_refused_before_anything_else_is_read() -> None:
    """A directory of a later release is told apart from a damaged one."""
    disk = a_disk()
    disk.write_atomically(f"{DATA}/meta.toml", b'format = 3\nnode_id = "not a number any more"\n')
    with pytest.raises(NewerFormat, match="has format 3, this release knows 2"):
        read_meta(disk, DATA)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"format = ", "not TOML"),
        (b"", "format is missing"),
        (b"format = 0\n", "format is 0"),
        (b"format = true\n", "format is not a whole number"),
        (GOOD.replace("node_id = 3", "node_id = -3").encode(), "node_id is -3"),
        (GOOD.replace("node_id = 3", "node_id = 3000000000").encode(), "node_id is 3000000000"),
        (GOOD.replace("node_id = 3", "").encode(), "node_id is missing"),
        (GOOD.replace("cluster_id = ", "cluster = ").encode(), "cluster_id is missing"),
        (GOOD.replace("00000000-", "0-").encode(), "cluster_id is not a UUID"),
        (GOOD.replace('"0.1.0"', "0.1").encode(), "version is not a text"),
    ],
)
def test_a_damaged_file_names_what_is_wrong(text: bytes, complaint: str) -> None:
    """Every way of being damaged is said by name, with the path."""
    disk = a_disk()
    disk.write_atomically(f"{DATA}/meta.toml", text)
    with pytest.raises(BadMeta, match=complaint) as caught:
        read_meta(disk, DATA)
    assert f"{DATA}/meta.toml" in str(caught.value)
