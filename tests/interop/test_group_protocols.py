"""Groups of Connect's and Streams' protocol types are opaque to a broker, and do not mix."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mesh.model.errors import ErrorCode
from mesh.wire.schemas.describe_groups import DescribeGroupsRequest, DescribeGroupsResponse
from mesh.wire.schemas.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from mesh.wire.schemas.heartbeat import HeartbeatRequest, HeartbeatResponse
from mesh.wire.schemas.join_group import (
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
)
from mesh.wire.schemas.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from mesh.wire.schemas.sync_group import (
    SyncGroupRequest,
    SyncGroupRequestAssignment,
    SyncGroupResponse,
)
from tests.interop import jvm
from tests.interop.differential.talk import Connection
from tests.interop.flights.producer import create_topic
from tests.interop.members.brokers import broker
from tests.interop.members.scene import commit
from tests.interop.members.story import Broker

KINDS = ["mesh", pytest.param("jvm", marks=pytest.mark.slow)]
JOIN, SYNC, BEAT, LEAVE, DESCRIBE = 9, 5, 4, 5, 5
"""Versions of the APIs that are asked."""

# Bytes that are no subscription of a consumer: only members and their leader read them.
WORDS = b"\xff\x00what a worker tells its leader"


class Worker:
    """A member that speaks the raw protocol, as a worker of Connect would."""

    def __init__(self, port: int, group: str, protocol_type: str, protocol: str) -> None:
        """Connect; the member id is the broker's to give."""
        self.connection = Connection(port)
        self.group = group
        self.protocol_type = protocol_type
        self.protocol = protocol
        self.member_id = ""
        self.generation_id = -1

    def join(self, metadata: bytes = WORDS) -> JoinGroupResponse:
        """Join, by the id that the first refusal hands out."""
        answer = self._join(metadata)
        if answer.error_code == ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = answer.member_id
            answer = self._join(metadata)
        self.generation_id = answer.generation_id
        return answer

    def _join(self, metadata: bytes) -> JoinGroupResponse:
        answer = self.connection.ask(
            JoinGroupRequest(
                group_id=self.group,
                session_timeout_ms=10_000,
                rebalance_timeout_ms=10_000,
                member_id=self.member_id,
                protocol_type=self.protocol_type,
                protocols=[JoinGroupRequestProtocol(name=self.protocol, metadata=metadata)],
            ),
            JOIN,
        )
        assert isinstance(answer, JoinGroupResponse)
        return answer

    def sync(self, assignments: dict[str, bytes], protocol_type: str = "") -> SyncGroupResponse:
        """Hand in assignments, if we lead, and take our own."""
        answer = self.connection.ask(
            SyncGroupRequest(
                group_id=self.group,
                generation_id=self.generation_id,
                member_id=self.member_id,
                protocol_type=protocol_type or self.protocol_type,
                protocol_name=self.protocol,
                assignments=[
                    SyncGroupRequestAssignment(member_id=member, assignment=assignment)
                    for member, assignment in assignments.items()
                ],
            ),
            SYNC,
        )
        assert isinstance(answer, SyncGroupResponse)
        return answer

    def beat(self) -> int:
        """Heartbeat; return the error."""
        answer = self.connection.ask(
            HeartbeatRequest(
                group_id=self.group, generation_id=self.generation_id, member_id=self.member_id
            ),
            BEAT,
        )
        assert isinstance(answer, HeartbeatResponse)
        return answer.error_code

    def leave(self) -> int:
        """Leave; return the error."""
        answer = self.connection.ask(
            LeaveGroupRequest(
                group_id=self.group, members=[MemberIdentity(member_id=self.member_id)]
            ),
            LEAVE,
        )
        assert isinstance(answer, LeaveGroupResponse)
        return answer.error_code or answer.members[0].error_code

    def describe(self) -> tuple[str, str, str, list[tuple[bytes, bytes]]]:
        """Return the group's state, type, protocol, and each member's bytes."""
        answer = self.connection.ask(DescribeGroupsRequest(groups=[self.group]), DESCRIBE)
        assert isinstance(answer, DescribeGroupsResponse)
        (group,) = answer.groups
        members = [(bytes(it.member_metadata), bytes(it.member_assignment)) for it in group.members]
        return group.group_state, group.protocol_type, group.protocol_data, members


def coordinator_port(port: int, group: str) -> int:
    """Ask a broker where a group's coordinator is; of several nodes it may be another one."""
    connection = Connection(port)
    try:
        told = connection.ask(FindCoordinatorRequest(key=group), 3)
    finally:
        connection.close()
    assert isinstance(told, FindCoordinatorResponse)
    assert told.error_code == 0, told.error_message
    return told.port


@pytest.fixture
def worker(running: Broker) -> Iterator[Callable[..., Worker]]:
    """Make workers, whose connections end with the test."""
    made: list[Worker] = []

    def make(*words: str) -> Worker:
        made.append(Worker(coordinator_port(running.port, words[0]), *words))
        return made[-1]

    yield make
    for one in made:
        one.connection.close()


@pytest.fixture(scope="module", params=KINDS)
def running(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A broker without a first delay: ours, then (in the long form) the JVM's to judge."""
    if request.param == "jvm" and (reason := jvm.missing()) is not None:
        pytest.skip(reason)
    with broker(request.param) as it:
        # Somebody's first commit has the coordinators made; until then they are nowhere.
        create_topic(it.bootstrap, "warm-up", 1)
        commit(it.bootstrap, "warm-up", [("warm-up", 0, 0)])
        yield it


@pytest.mark.parametrize(
    ("protocol_type", "protocol"), [("connect", "sessioned"), ("stream", "stream")]
)
def test_any_protocol_type_makes_a_group(
    protocol_type: str, protocol: str, worker: Callable[..., Worker]
) -> None:
    """What members and leader tell each other goes through untouched, whatever it says."""
    leader = worker(f"raw-{protocol_type}", protocol_type, protocol)
    joined = leader.join()
    assert (joined.error_code, joined.leader) == (0, leader.member_id)
    assert (joined.protocol_type, joined.protocol_name) == (protocol_type, protocol)
    assert [bytes(it.metadata) for it in joined.members] == [WORDS]
    synced = leader.sync({leader.member_id: b"\x00do this"})
    assert (synced.error_code, synced.protocol_type) == (0, protocol_type)
    assert bytes(synced.assignment) == b"\x00do this"
    assert leader.beat() == 0
    assert leader.describe() == ("Stable", protocol_type, protocol, [(WORDS, b"\x00do this")])
    wrong = leader.sync({}, protocol_type="consumer")
    assert wrong.error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert leader.leave() == 0


@pytest.mark.parametrize(
    ("protocol_type", "protocol"),
    [("consumer", "sessioned"), ("connect", "compatible"), ("", "sessioned")],
)
def test_protocols_do_not_mix(
    protocol_type: str, protocol: str, worker: Callable[..., Worker]
) -> None:
    """Whoever comes with another type, or shares no protocol, is refused; nobody is disturbed."""
    group = f"raw-mixed-{protocol_type}-{protocol}"
    leader = worker(group, "connect", "sessioned")
    assert leader.join().error_code == 0
    assert leader.sync({leader.member_id: b"all"}).error_code == 0
    other = worker(group, protocol_type, protocol)
    assert other.join().error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert leader.beat() == 0
    assert leader.leave() == 0
