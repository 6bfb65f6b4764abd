"""A mesh with a cluster key, as people run it: made, joined, changed while it runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.tools.members import Member, failed_node, mesh, states_are
from tools.errors import Exit


def ids(words: str) -> list[str]:
    return [line.split()[0] for line in words.splitlines()]


def key(*words: str) -> list[str]:
    """Run `mesh key`; return the ids that it tells, the sealing one first."""
    told = mesh("key", *words)
    assert (told.returncode, told.stderr) == (Exit.OK, "")
    return ids(told.stdout)


def test_a_mesh_with_a_key_lets_in_who_has_it(tmp_path: Path) -> None:
    """A member with the key joins; one with another, or none, is told so and is not half joined."""
    ours, theirs = str(tmp_path / "cluster.key"), str(tmp_path / "other.key")
    (name,), (other,) = key("new", ours), key("new", theirs)
    assert name != other
    plain = Member(tmp_path / "plain")
    founder = Member(tmp_path / "1", "--cluster-key-file", ours)
    started = [plain, founder]
    try:
        join = ("--join", str(founder.peer))
        joined = Member(tmp_path / "2", *join, "--cluster-key-file", ours)
        started.append(joined)
        for member in (founder, joined):
            member.until(states_are(n1="alive", n2="alive"))
        for options, told in (
            ((*join, "--cluster-key-file", theirs), f"does not know our cluster key {other}"),
            (join, "has a cluster key, and this node has none"),
            (
                ("--join", str(plain.peer), "--cluster-key-file", ours),
                "has no cluster key, and this node has one",
            ),
        ):
            status, errors = failed_node(tmp_path / "3", *options)
            assert status == Exit.REFUSED
            assert told in errors
            assert "--cluster-key-file" in errors.splitlines()[-1]
            assert not (tmp_path / "3" / "meta.toml").exists()
        assert founder.states() == {1: "alive", 2: "alive"}
    finally:
        for member in started:
            member.end()


def test_a_key_is_changed_while_the_mesh_runs(tmp_path: Path) -> None:
    """Add, use, drop, with a reload after each: nobody is lost, and the old key opens no more."""
    file = str(tmp_path / "cluster.key")
    (old,) = key("new", file)
    shutil.copy2(file, tmp_path / "old.key")
    founder = Member(tmp_path / "1", "--cluster-key-file", file)
    started = [founder]
    try:
        join = ("--join", str(founder.peer))
        started.append(Member(tmp_path / "2", *join, "--cluster-key-file", file))
        _, new = key("add", file)
        for step, expected in (
            (("list", file), [old, new]),
            (("use", file, new), [new, old]),
            (("drop", file), [new]),
        ):
            assert key(*step) == expected
            for number in ("1", "2"):
                assert key("reload", "--data", str(tmp_path / number)) == expected
        status, errors = failed_node(
            tmp_path / "3", *join, "--cluster-key-file", str(tmp_path / "old.key")
        )
        assert (status, f"cluster key {old}" in errors) == (Exit.REFUSED, True)
        started.append(Member(tmp_path / "4", *join, "--cluster-key-file", file))
        for member in started:
            member.until(states_are(n1="alive", n2="alive", n3="alive"))
        counters = founder.status()["here"]["gossip"]
        assert counters.get("refused_unknown_key") == 1
    finally:
        for member in started:
            member.end()


def test_a_reload_of_a_bad_file_keeps_the_keys(tmp_path: Path) -> None:
    """A node refuses a file that is no ring, says why, and goes on with what it had."""
    file = tmp_path / "cluster.key"
    (name,) = key("new", str(file))
    node = Member(tmp_path / "1", "--cluster-key-file", str(file))
    kept = file.read_text()
    try:
        file.write_text("what is this\n")
        told = mesh("key", "reload", "--data", str(tmp_path / "1"))
        assert told.returncode == Exit.REFUSED
        assert "line 1" in told.stderr
        assert "the keys of before are in use" in told.stderr
        file.write_text(kept)
        assert key("reload", "--data", str(tmp_path / "1")) == [name]
    finally:
        node.end()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("new", "FILE"), "a file FILE already, and it is kept"),
        (("use", "FILE", "00000000"), "holds no key 00000000"),
        (("list", "MISSING"), "cannot be read: No such file"),
        (("reload", "--data", "MISSING"), "no node listens on"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    """Each step that makes no sense is refused in words, and the file stays as it was."""
    file = tmp_path / "cluster.key"
    key("new", str(file))
    kept = file.read_text()
    places = {"FILE": str(file), "MISSING": str(tmp_path / "missing")}
    found = mesh("key", *(places.get(word, word) for word in words))
    assert found.returncode in (Exit.USAGE, Exit.CONNECT)
    assert told.replace("FILE", str(file)) in found.stderr
    assert file.read_text() == kept


def test_a_node_without_a_key_on_the_network_is_refused(tmp_path: Path) -> None:
    """A peer port that others reach wants a key; with one, it says what its file lacks."""
    status, errors = failed_node(tmp_path / "1", "--peer-listen", "192.0.2.1:9")
    assert (status, "mesh key new" in errors) == (Exit.USAGE, True)
    status, errors = failed_node(tmp_path / "1", "--cluster-key-file", str(tmp_path / "none"))
    assert status == Exit.USAGE
    assert "cluster key file" in errors
    assert not (tmp_path / "1").exists()
