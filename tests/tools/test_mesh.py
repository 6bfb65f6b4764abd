"""A mesh of real processes: how it is joined, seen and left, and what is refused."""

from __future__ import annotations

import os
import signal
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.members import WAIT_S, Member, failed_node, mesh, states_are
from tools.errors import Exit
from tools.node import parse_ready_line


@pytest.fixture
def members(tmp_path: Path) -> Iterator[list[Member]]:
    """Three members: the founder, one that joined it, one that joined that one."""
    found: list[Member] = []
    try:
        found.append(Member(tmp_path / "1"))
        found.append(Member(tmp_path / "2", "--join", str(found[0].peer)))
        found.append(Member(tmp_path / "3", "--join", str(found[1].peer)))
        yield found
    finally:
        for member in found:
            member.end()


def test_three_processes_are_one_mesh(members: list[Member], tmp_path: Path) -> None:
    """All agree; one killed with -9 is dead for all, comes back as itself, and one may leave."""
    one, two, three = members
    assert "clients at" in two.line
    for member in members:
        member.until(states_are(n1="alive", n2="alive", n3="alive"))
        document = member.until(lambda document: bool(document["healthy"]))
        assert document["reach"] == [[True] * 3] * 3
    assert len({member.status()["view_hash"] for member in members}) == 1
    told = mesh("status", "--admin", str(two.admin))
    assert told.returncode == Exit.OK
    assert "3 alive; view" in told.stdout

    three.process.kill()
    for member in (one, two):
        document = member.until(states_are(n1="alive", n2="alive", n3="dead"))
        assert document["reasons"] == [f"node 3 ({three.peer}) is dead"]
    again = Member(tmp_path / "3")
    members.append(again)
    assert "node 3 is ready" in again.line
    one.until(states_are(n1="alive", n2="alive", n3="alive"))
    assert tomllib.loads((tmp_path / "3" / "membership.toml").read_text())["start"] == 2

    left = mesh("leave", "--data", str(tmp_path / "3"))
    assert left.returncode == Exit.OK, left.stderr
    for member in (one, two):
        member.until(states_are(n1="alive", n2="alive", n3="left"))
        member.until(lambda document: bool(document["healthy"]))


def test_a_short_stop_is_no_death(members: list[Member]) -> None:
    """A process that is stopped and goes on is found dead by nobody."""
    one, two, three = members
    one.until(states_are(n1="alive", n2="alive", n3="alive"))
    os.kill(three.process.pid, signal.SIGSTOP)
    one.until(lambda document: document["nodes"][2]["state"] == "suspect")
    os.kill(three.process.pid, signal.SIGCONT)
    for member in members:
        member.until(states_are(n1="alive", n2="alive", n3="alive"))
        kinds = {event["kind"] for event in member.status()["events"]}
        assert "member_dead" not in kinds
    two.until(lambda document: bool(document["healthy"]))


def test_a_dead_member_may_be_made_to_count_as_left(members: list[Member], tmp_path: Path) -> None:
    """`mesh leave --node` needs a dead one."""
    one, _, three = members
    data = str(tmp_path / "1")
    one.until(states_are(n1="alive", n2="alive", n3="alive"))
    refused = mesh("leave", "--data", data, "--node", "3")
    assert refused.returncode == Exit.REFUSED
    assert "node 3 is alive, not dead" in refused.stderr
    three.process.kill()
    one.until(states_are(n1="alive", n2="alive", n3="dead"))
    assert mesh("leave", "--data", data, "--node", "3").returncode == Exit.OK
    one.until(states_are(n1="alive", n2="alive", n3="left"))


def test_whoever_cannot_join_is_told_why(tmp_path: Path) -> None:
    """Nobody there, no peer port, another mesh: words, a status, and nothing half joined."""
    founder, other = Member(tmp_path / "1"), Member(tmp_path / "other")
    try:
        status, errors = failed_node(tmp_path / "2", "--join", "127.0.0.1:1")
        assert status == Exit.CONNECT
        assert "127.0.0.1:1 does not answer: Connection refused" in errors
        status, errors = failed_node(tmp_path / "2", "--join", str(founder.admin))
        assert status == Exit.REFUSED
        assert "is no peer port of a mesh" in errors
        status, errors = failed_node(tmp_path / "2", "--join", str(founder.peer), "--node-id", "1")
        assert status == Exit.REFUSED
        assert "id 1 is taken" in errors
        assert not (tmp_path / "2" / "meta.toml").exists()

        joined = Member(tmp_path / "2", "--join", str(founder.peer))
        joined.process.terminate()
        joined.process.communicate(timeout=WAIT_S)
        (tmp_path / "2" / "membership.toml").write_text("start = 1\npeers = []\n")
        status, errors = failed_node(tmp_path / "2", "--join", str(other.peer))
        assert status == Exit.REFUSED
        assert f"{other.peer} is a member of mesh" in errors
        assert founder.states().keys() == {1, 2}
        status, errors = failed_node(tmp_path / "2", "--node-id", "9")
        assert status == Exit.REFUSED
        assert "is the directory of node 2" in errors
        assert other.states() == {1: "alive"}
    finally:
        founder.end()
        other.end()


def test_a_founder_that_lost_its_directory_founds_no_second_mesh(tmp_path: Path) -> None:
    """Members of the old mesh look for it there, so it stops in words; at each start, while empty.

    One with data goes on, although somebody else is now where it remembers a member to be.
    """
    founder = Member(tmp_path / "1")
    joined = Member(tmp_path / "2", "--join", str(founder.peer))
    started = [founder, joined]
    try:
        joined.until(states_are(n1="alive", n2="alive"))
        founder.end()
        for _ in range(2):
            fresh = Member(tmp_path / "new", "--peer-listen", str(founder.peer))
            started.append(fresh)
            _, errors = fresh.process.communicate(timeout=WAIT_S)
            assert fresh.process.returncode == Exit.DATA
            assert (
                f"a member of another mesh, at {joined.peer}, looks here for its node 1" in errors
            )
            assert "mesh leave --data THEIRS --node 1" in errors

        joined.end()
        other = Member(tmp_path / "other", "--peer-listen", str(joined.peer))
        again = Member(tmp_path / "1")
        started += [other, again]
        document = again.until(lambda document: "alone" in str(document["events"]))
        assert f"{joined.peer} is a member of mesh" in str(document["events"])
        assert again.states() == {1: "alive"}
    finally:
        for member in started:
            member.end()


def test_a_copied_data_directory_does_not_run_twice(tmp_path: Path) -> None:
    """Of two processes with one identity the copy stops, and says that it is an older one.

    It is older once the original has promised anything since, and others have heard of that.
    """
    founder = Member(tmp_path / "1")
    joined = Member(tmp_path / "2", "--join", str(founder.peer))
    started = [founder, joined]
    try:
        joined.until(states_are(n1="alive", n2="alive"))
        (tmp_path / "copy").mkdir()
        for name in ("meta.toml", "membership.toml", "promises.journal"):
            (tmp_path / "copy" / name).write_bytes((tmp_path / "2" / name).read_bytes())
        address = parse_ready_line(founder.line)
        for topic in ("one", "two"):
            replicas = ("--replication-factor", "2")
            made = mesh("topic", "create", topic, "--bootstrap", str(address), *replicas)
            assert made.returncode == Exit.OK, made.stderr
        status, errors = failed_node(tmp_path / "copy")
        assert status == Exit.DATA
        assert "this data directory is an older copy of itself" in errors
    finally:
        for member in started:
            member.end()
