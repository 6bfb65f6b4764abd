"""The bench's members of groups: what they say can be read, and who is complete."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from mesh.model.errors import ErrorCode
from mesh.node.options import Address
from mesh.wire import Message, decode, encode_response, read_request_header, request_class
from mesh.wire.schemas.heartbeat import HeartbeatRequest, HeartbeatResponse
from mesh.wire.schemas.join_group import (
    JoinGroupRequest,
    JoinGroupResponse,
    JoinGroupResponseMember,
)
from mesh.wire.schemas.sync_group import SyncGroupRequest, SyncGroupResponse
from tools import cli
from tools.bench.frames import joined
from tools.bench.generator import BenchError
from tools.bench.members import (
    ClassicMember,
    Crew,
    GroupOf,
    assigned_count,
    assignment,
    complete,
    subscription,
)
from tools.bench.report import table
from tools.errors import Exit

GROUP = GroupOf("g", "orders", partitions=7, session_ms=45_000, heartbeat_s=0.0)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Somebody who accepts connections on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server


class Broker:
    """The other end of one member's connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(10)

    def hear(self) -> Message:
        """Return the next request; all of it came in one piece."""
        frame = self._connection.recv(1 << 16)[4:]
        self.header, position = read_request_header(frame)
        kind = request_class(self.header.api_key)
        assert kind is not None
        return decode(kind, frame, position, self.header.api_version)

    def answer(self, response: Message) -> None:
        header = self.header
        parts = encode_response(response, header.api_version, header.correlation_id)
        self._connection.sendall(joined(parts))


def test_a_member_joins_syncs_and_beats(listener: socket.socket) -> None:
    """It takes its id, assigns ranges as the leader, heartbeats, and joins again when told so."""
    member = ClassicMember(Address(*listener.getsockname()), GROUP)
    connection, _ = listener.accept()
    with connection:
        broker, crew = Broker(connection), Crew([member])
        crew.begin(at_once=1)
        first = broker.hear()
        assert isinstance(first, JoinGroupRequest)
        assert (first.group_id, first.member_id) == ("g", "")
        assert first.protocols[0].metadata == subscription("orders")
        broker.answer(JoinGroupResponse(error_code=ErrorCode.MEMBER_ID_REQUIRED, member_id="m1"))
        crew.run(10, lambda: member.line.requests == 2)
        again = broker.hear()
        assert isinstance(again, JoinGroupRequest)
        assert again.member_id == "m1"
        both = [JoinGroupResponseMember(member_id=name) for name in ("m0", "m1")]
        broker.answer(JoinGroupResponse(generation_id=3, leader="m1", member_id="m1", members=both))
        crew.run(10, lambda: member.line.requests == 3)
        sync = broker.hear()
        assert isinstance(sync, SyncGroupRequest)
        given = [each.assignment for each in sync.assignments]
        assert given == [assignment("orders", range(3)), assignment("orders", range(3, 7))]
        assert not member.settled
        broker.answer(SyncGroupResponse(assignment=given[1]))
        crew.run(10, lambda: member.settled)
        crew.run(0.05, lambda: member.line.requests == 4)  # It then waits for our answer.
        assert (member.settled, member.assigned, member.epoch) == (True, 4, 3)
        assert complete([member], 4)
        beat = broker.hear()
        assert isinstance(beat, HeartbeatRequest)
        assert (beat.member_id, beat.generation_id) == ("m1", 3)
        broker.answer(HeartbeatResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS))
        crew.run(10, lambda: member.line.requests == 5)
        assert isinstance(broker.hear(), JoinGroupRequest)
        assert not complete([member], 4)
        broker.answer(JoinGroupResponse(error_code=ErrorCode.GROUP_MAX_SIZE_REACHED))
        with pytest.raises(BenchError, match="GROUP_MAX_SIZE_REACHED"):
            crew.run(10)
        crew.close()


@pytest.mark.parametrize("count", [0, 1, 500])
def test_partitions_of_an_assignment_are_counted(count: int) -> None:
    """What a leader wrote is what the member counts; nothing given is nothing."""
    assert assigned_count("orders", assignment("orders", range(count))) == count
    assert assigned_count("orders", b"") == 0


@pytest.mark.slow
def test_groups_are_made_killed_and_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    """A node of our own knows all groups again after kill -9, and says what each costs."""
    arguments = ["bench", "groups", "--groups", "500", "--durability", "memory"]
    assert cli.run(arguments) == Exit.OK
    told = capsys.readouterr().out
    assert "bytes/group" in told
    assert " 500 |" in told


def test_tables_of_members_have_a_row_per_broker() -> None:
    """What joins and heartbeats cost is told for both brokers."""
    joins = {"protocol": "classic", "members": 50, "partitions": 500, "assigned_ms": 10.0}
    ratio = {"ratio": 2.0, "ratio_min": 1.5, "ratio_max": 2.5}
    lines = table("join", [joins | ratio | {"against": {"assigned_ms": 20.0}}]).splitlines()
    assert len(lines) == 4
    assert "2.00 (1.50 to 2.50)" in lines[2]
    beats: dict[str, object] = {"members": 300, "beating_cpu_percent": 1.5}
    assert "1.50" in table("heartbeats", [beats]).splitlines()[2]


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_joins_are_timed_on_a_node_of_our_own(
    protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """All members get their part, and the figures say how long that took."""
    arguments = ("--members", "5", "--partitions", "12", "--rounds", "2", "--protocol", protocol)
    assert cli.run(["bench", "join", *arguments, "--durability", "memory", "--json"]) == Exit.OK
    (point,) = json.loads(capsys.readouterr().out)["points"]
    assert 0 < point["assigned_ms_min"] <= point["assigned_ms"] <= point["assigned_ms_max"]
    assert point["requests"] >= 10


def test_heartbeats_are_counted_on_a_node_of_our_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Members beat at their rate, and what they cost is told for both states."""
    arguments = ("--members", "20", "--interval-ms", "100", "--seconds", "0.5", "--json")
    assert cli.run(["bench", "heartbeats", *arguments, "--durability", "memory"]) == Exit.OK
    (point,) = json.loads(capsys.readouterr().out)["points"]
    assert 0 < point["heartbeats_s"] < 300
    assert point["silent_cpu_percent"] >= 0
