"""Random lives of classic groups against what must hold whatever members do."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from mesh.groups import Ask
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.join_group import JoinGroupResponse
from mesh.wire.schemas.sync_group import SyncGroupRequest, SyncGroupResponse
from tests.mesh.groups.classic_driver import GROUP, Driver

STEPS = 120
SESSION_MS = 6_000
REBALANCE_MS = 20_000
NEWCOMER_MS = 300_000
QUIET_ROUNDS = 60


@dataclass
class Client:
    """Does what clients do, when the dice say so."""

    name: str
    instance: str | None
    version: int
    member_id: str = ""
    generation: int = -1
    protocol: str | None = None
    protocols: dict[str, bytes] = field(default_factory=lambda: {"range": b"1"})
    ask: Ask | None = None
    """What it waits for."""
    leads: list[str] | None = None
    """Members to assign to, if it was told that it leads."""
    is_in: bool = False
    """It has its assignment."""

    def restart(self) -> None:
        """Begin as a new process: nothing is known but the configuration."""
        self.member_id, self.generation, self.ask, self.leads = "", -1, None, None
        self.is_in = False


class World:
    """Clients, their coordinator, and all that was said."""

    def __init__(self, seed: int) -> None:
        """Dice from a seed."""
        self.rng = random.Random(seed)
        self.driver = Driver(
            seed, group_initial_delay_ms=self.rng.choice((0, 3_000)), group_size_max=5
        )
        self.clients = [
            Client(
                f"c{place}",
                f"i{place // 2}" if self.rng.random() < 0.4 else None,
                self.rng.choice((5, 9)),
            )
            for place in range(6)
        ]
        self.asked_at: dict[Ask, int] = {}
        self.seen: set[Ask] = set()
        self.newest = 0
        self.assigned: dict[tuple[int, str], bytes] = {}
        """What a leader's SyncGroup said, by generation and member."""

    def join(self, client: Client) -> None:
        """It joins, for the first time or again."""
        client.is_in, client.leads = False, None
        client.ask = self.driver.join(
            client.member_id,
            version=client.version,
            instance=client.instance,
            protocols=client.protocols,
            session_ms=SESSION_MS,
            rebalance_ms=REBALANCE_MS,
        )

    def sync(self, client: Client) -> None:
        """It syncs, and assigns if it leads."""
        assignments = {}
        for one in client.leads or ():
            text = f"{one} {client.generation} {self.rng.random()}"
            assignments[one] = text.encode()
        client.ask = self.driver.sync(
            client.member_id,
            client.generation,
            assignments,
            instance=client.instance,
            protocol=client.protocol,
        )

    def hear(self) -> None:
        """Look at every new answer: hold it against what must be, then tell the client."""
        for ask in self.driver.waiting:
            self.asked_at.setdefault(ask, self.driver.now_ms)
            assert self.driver.now_ms - self.asked_at[ask] <= NEWCOMER_MS + REBALANCE_MS
        new = [ask for ask in self.driver.answers if ask not in self.seen]
        self.seen.update(new)
        # Whoever answers a leader has taken its assignment first.
        for ask in sorted(new, key=lambda one: not self.took(one)):
            client = next((one for one in self.clients if one.ask is ask), None)
            answer = self.driver.answers[ask]
            if isinstance(answer, JoinGroupResponse):
                self.heard_join(client, answer)
            elif isinstance(answer, SyncGroupResponse):
                self.heard_sync(client, ask, answer)

    def took(self, ask: Ask) -> bool:
        """Note what was assigned if this was a leader's SyncGroup that succeeded."""
        body, answer = ask.body, self.driver.answers[ask]
        if not isinstance(body, SyncGroupRequest) or not isinstance(answer, SyncGroupResponse):
            return False
        for one in body.assignments:
            if one.member_id == body.member_id and one.assignment == answer.assignment:
                for each in body.assignments:
                    key = (body.generation_id, each.member_id)
                    self.assigned.setdefault(key, each.assignment)
                return True
        return False

    def heard_join(self, client: Client | None, answer: JoinGroupResponse) -> None:
        """Generations only grow; whoever leads knows all members."""
        if answer.error_code == 0:
            assert answer.generation_id >= self.newest
            self.newest = answer.generation_id
            if answer.members:
                assert answer.member_id in {one.member_id for one in answer.members}
        if client is None:
            return
        client.ask = None
        match answer.error_code:
            case 0:
                client.member_id, client.generation = answer.member_id, answer.generation_id
                client.protocol = answer.protocol_name
                if answer.leader == answer.member_id and not answer.skip_assignment:
                    client.leads = [one.member_id for one in answer.members]
            case ErrorCode.MEMBER_ID_REQUIRED:
                client.member_id = answer.member_id
            case ErrorCode.UNKNOWN_MEMBER_ID | ErrorCode.FENCED_INSTANCE_ID:
                client.restart()
            case ErrorCode.GROUP_MAX_SIZE_REACHED:
                client.restart()
            case code:
                assert code == ErrorCode.REBALANCE_IN_PROGRESS

    def heard_sync(self, client: Client | None, ask: Ask, answer: SyncGroupResponse) -> None:
        """What a member gets is what the leader of its generation gave it."""
        body = ask.body
        assert isinstance(body, SyncGroupRequest)
        if answer.error_code == 0:
            key = (body.generation_id, body.member_id)
            # A static member that came back has what its old id was given.
            if client is None or client.instance is None:
                assert answer.assignment == self.assigned.get(key, b"")
        if client is None:
            return
        client.ask = None
        client.is_in = answer.error_code == 0
        if answer.error_code in (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID):
            client.restart()
        elif answer.error_code != 0:
            client.generation = -1

    def heartbeat(self, client: Client) -> None:
        """It heartbeats, and does what it is told."""
        code = self.driver.heartbeat(client.member_id, client.generation, instance=client.instance)
        if code in (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID):
            client.restart()
        elif code != 0:
            client.generation, client.is_in = -1, False

    def step(self) -> None:
        """Anything that may happen happens."""
        client = self.rng.choice(self.clients)
        match self.rng.randrange(20):
            case 0:
                self.driver.leave((client.member_id, client.instance))
                client.restart()
            case 1:
                client.restart()
            case 2:
                self.driver.start()
                self.newest = 0
                for one in self.clients:
                    one.ask = None
            case 3:
                self.driver.sleep(self.rng.choice((SESSION_MS, REBALANCE_MS)))
            case 4:
                client.protocols = {
                    name: self.rng.randbytes(2) for name in self.rng.sample(("range", "other"), 2)
                }
                self.join(client)
            case 5:
                self.driver.sync(client.member_id, self.rng.randrange(5), instance=client.instance)
            case 6:
                self.driver.leave(("", client.instance), (client.name, None))
            case 7 | 8 | 9:
                self.driver.sleep(self.rng.randrange(2_000))
            case _:
                self.behave(client)
        self.hear()

    def behave(self, client: Client) -> None:
        """It does what comes next for a client in its state."""
        if client.ask is not None:
            return
        if client.generation < 0:
            self.join(client)
        elif client.is_in:
            self.heartbeat(client)
        else:
            self.sync(client)

    def calm_down(self) -> None:
        """No accidents from now on: one client for each instance, all do as they should."""
        instances: set[str] = set()
        for client in list(self.clients):
            if client.instance is None or client.instance not in instances:
                instances.add(client.instance or "")
            else:
                self.clients.remove(client)
        self.clients = self.clients[:5]
        for _ in range(QUIET_ROUNDS):
            for client in self.clients:
                self.behave(client)
                self.hear()
            self.driver.sleep(1_000)
            self.hear()


@pytest.mark.parametrize("seed", range(40))
def test_whatever_members_do_a_group_holds_together(seed: int) -> None:
    """Each question has one answer, each member what its leader gave, and calm brings peace."""
    world = World(seed)
    for _ in range(STEPS):
        world.step()
    world.calm_down()
    driver = world.driver
    assert not driver.waiting
    assert driver.state() == "Stable"
    group = driver.groups.group(GROUP)
    assert group is not None
    assert {client.generation for client in world.clients} == {group.generation}
    assert {client.member_id for client in world.clients} == set(group.members)
    assert all(client.is_in for client in world.clients)
    assert group.waiting == 0
    assert not group.pending
    assert driver.groups.statistics().members == len(group.members)
    for client in world.clients:
        driver.leave((client.member_id, client.instance))
    driver.sleep(1_000)
    assert driver.state() == "Empty"
    assert driver.groups.statistics()[:2] == (0, 0)
