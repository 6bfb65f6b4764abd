"""`mesh dump` from the outside: text, JSON, statuses, and a node beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from uuid import UUID

import pytest

from storage import OsDisk
from storage.meta import Meta, write_meta
from tests.tools.dump.places import a_journal, a_partition, flip
from tools import cli
from tools.dump.rows import ReadingDisk, shown
from tools.errors import Exit

UUID_TEXT = "6cbeb2e2-9848-49d5-9001-7198be7e0def"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    a_partition(tmp_path)
    a_journal(tmp_path)
    write_meta(OsDisk(), str(tmp_path), Meta(UUID(UUID_TEXT), UUID(UUID_TEXT), 1, "0.1.0"))
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.run(["dump", *arguments])
    output = capsys.readouterr()
    return status, output.out, output.err


def documents(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_an_overview(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a data directory: identity, journal, partitions with sizes and ends, and how it ended."""
    status, out, err = run(capsys, str(data))
    assert (status, err) == (Exit.OK, "")
    assert f"node 1, directory {UUID_TEXT}" in out
    assert "sound: 4 rounds up to 3, 1 promises" in out
    assert "orders-3" in out
    assert "1 partitions, " in out
    assert "ended clean" in out
    assert "\x1b" not in out


def test_json_is_one_object_per_line(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line has its format and kind; the same facts as the text."""
    status, out, _ = run(capsys, "--json", str(data), str(data / "orders-3"))
    assert status == Exit.OK
    found = documents(out)
    assert {line["format"] for line in found} == {1}
    assert {"meta", "journal", "partition", "batch", "index", "log"} <= {
        str(line["kind"]) for line in found
    }
    ends = {line["log_end_offset"] for line in found if line["kind"] == "partition"}
    assert ends == {36}


def test_damage_has_status_4(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The place stands in the output and in the error, and --verify finds it from above."""
    log = data / "orders-3" / f"{0:020d}.log"
    flip(log, 80)
    status, out, err = run(capsys, "--verify", str(data))
    assert status == Exit.DATA
    assert "!! damaged: byte 0, offset 0: the CRC-32C of a batch differs" in out
    assert f"error: {log} is damaged at byte 0" in err
    assert run(capsys, str(data))[0] == Exit.OK, "only --verify looks at every byte"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "there is no nowhere"),
        (["--offset", "5..5", "x"], "holds no offset"),
        (["--offset", "..", "x"], "A..B"),
        (["--offset", "-1..3", "x"], "A..B"),
        ([], "PATH"),
        ([__file__], "none of the files"),
    ],
)
def test_wrong_words(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not there, or not ours, is said with status 2."""
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (Exit.USAGE, "")
    assert told in err


def test_a_pipe_does_not_hold_it_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Something of a segment's name that is no file is refused, and not waited for."""
    path = tmp_path / f"{0:020d}.log"
    os.mkfifo(path)
    status, _, err = run(capsys, str(path))
    assert status == Exit.DISK
    assert "not a regular file" in err


def test_what_others_wrote_is_escaped_and_cut() -> None:
    """Nothing in a record acts on a terminal, and its backslashes stay apart from ours."""
    assert shown(b"a\x1b[31m\n\\x") == "a\\x1b[31m\\n\\\\x"
    assert shown("日本\u202e".encode()) == "日本\\u202e"
    assert shown(b"\xff\x00") == "\\xff\\x00"
    assert shown(None) is None
    assert shown(b"x" * 1000) == "x" * 200 + "… (1,000 bytes)"


def test_its_disk_refuses_every_change(tmp_path: Path) -> None:
    """No way leads from a dump to a change of the disk."""
    disk = ReadingDisk()
    path = str(tmp_path / "x")
    for change in (
        lambda: disk.open(path, create=True),
        lambda: disk.make_directory(path),
        lambda: disk.rename(path, path),
        lambda: disk.remove(path),
        lambda: disk.remove_tree(path),
        lambda: disk.sync_directory(path),
        lambda: disk.lock(path),
        lambda: disk.write_atomically(path, b""),
        lambda: disk.replace(path, b""),
    ):
        with pytest.raises(Exception, match="a dump changes nothing"):
            change()
    assert list(tmp_path.iterdir()) == []
