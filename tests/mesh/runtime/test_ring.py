"""The file of cluster keys: read with suspicion, written for its owner alone."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from mesh.runtime.ring import FILE_BYTES_MAX, KEYS_MAX, RingError, read_ring, write_ring

KEYS = tuple(bytes([n]) * 32 for n in range(1, KEYS_MAX + 2))


def line(key: bytes) -> str:
    return base64.b64encode(key).decode() + "\n"


def a_file(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "cluster.key"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    return str(path)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Keys come back in their order, comments aside; only the owner may read the file."""
    path = str(tmp_path / "cluster.key")
    write_ring(path, KEYS[:2], is_new=True)
    assert read_ring(path) == KEYS[:2]
    assert os.stat(path).st_mode & 0o777 == 0o600
    write_ring(path, KEYS[1:3], is_new=False)
    assert read_ring(path) == KEYS[1:3]
    assert os.listdir(tmp_path) == ["cluster.key"]
    assert (
        read_ring(a_file(tmp_path, f"# ours\n\n {line(KEYS[0]).strip()} # of 2026\r\n")) == KEYS[:1]
    )


def test_a_key_is_never_overwritten_by_a_new_one(tmp_path: Path) -> None:
    """Where a file is, no new one is made; what it holds is kept."""
    path = a_file(tmp_path, line(KEYS[0]))
    with pytest.raises(RingError, match=r"is a file .* already, and it is kept"):
        write_ring(path, KEYS[1:2], is_new=True)
    assert read_ring(path) == KEYS[:1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds 0 keys"),
        ("# nothing\n", "holds 0 keys"),
        ("secret\n", "line 1 .* is no key"),
        (line(KEYS[0]) + line(b"short"), "line 2 .* is no key"),
        (line(KEYS[0])[:-2] + "\n", "line 1 .* is no key"),
        (b"\xff\xfe\x00" * 15, "line 1 .* is no key"),
        (line(KEYS[0]) * 2, "line 2 .* repeats a key"),
        ("".join(map(line, KEYS)), f"holds {KEYS_MAX + 1} keys; a ring has 1 to {KEYS_MAX}"),
        ("#" * (FILE_BYTES_MAX + 1), "longer than"),
    ],
)
def test_a_bad_file_is_told_without_its_keys(tmp_path: Path, text: str | bytes, told: str) -> None:
    """The line at fault is named; what stands there is not told, as it may be most of a key."""
    with pytest.raises(RingError, match=told) as caught:
        read_ring(a_file(tmp_path, text))
    assert "secret" not in str(caught.value)
    assert line(KEYS[0])[:20] not in str(caught.value)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """A key that others may have read seals nothing."""
    path = a_file(tmp_path, line(KEYS[0]))
    os.chmod(path, 0o640)
    with pytest.raises(RingError, match="others may read"):
        read_ring(path)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    """A missing file, a directory and a pipe are each told, and nothing waits for a pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, told in (
        (tmp_path / "missing", "No such file"),
        (tmp_path, "is no plain file"),
        (pipe, "is no plain file"),
    ):
        with pytest.raises(RingError, match=told):
            read_ring(str(path))
    with pytest.raises(RingError, match="cannot be written"):
        write_ring(str(tmp_path / "missing" / "key"), KEYS[:1], is_new=True)
