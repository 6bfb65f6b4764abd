"""Claims of node ids and producer ids, by members that come, go, lose disks and lose elections."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from mesh.model.types import NodeId, ReplicaId
from mesh.registry import MESH_SHARD, Plan, RecordPair, Registry
from tests.mesh.registry.builders import Mesh, a_registry
from tests.mesh.registry.test_images import state


@dataclass
class Member:
    """A node, and how far it has replayed the one log."""

    registry: Registry
    appended: int = 0
    committed: int = 0


@dataclass
class World:
    """One shard's log, and the members that claim in it."""

    rng: random.Random
    log: list[RecordPair] = field(default_factory=list)
    committed_end: int = 0
    seeds: int = 0
    members: list[Member] = field(default_factory=list)
    producer_ids: list[int] = field(default_factory=list)

    def start(self, own: ReplicaId) -> Member:
        self.seeds += 1
        return Member(Registry(own, random.Random(self.seeds)))

    def propose(self, member: Member, plan: Plan) -> None:
        """This member leads: it has all of the log, and knows what is committed."""
        self.append_to(member, len(self.log))
        self.log += plan.records
        self.append_to(member, len(self.log))

    def append_to(self, member: Member, end: int) -> None:
        pairs = self.log[member.appended : end]
        if pairs:
            member.registry.appended(MESH_SHARD, member.appended, pairs)
            member.appended = end

    def commit_to(self, member: Member, end: int) -> None:
        self.append_to(member, end)
        for offset in range(member.committed, end):
            member.registry.committed(MESH_SHARD, offset, self.log[offset])
        member.committed = max(member.committed, end)

    def lose_tail(self) -> None:
        """A leader is elected that lacks some of what was not committed."""
        end = self.rng.randint(self.committed_end, len(self.log))
        del self.log[end:]
        for member in self.members:
            if member.appended > end:
                member.registry.truncated(MESH_SHARD, end)
                member.appended = end

    def step(self) -> None:
        number = self.rng.randrange(len(self.members))
        member = self.members[number]
        own = member.registry.own
        match self.rng.randrange(8):
            case 0:
                self.propose(member, member.registry.plan_producer_ids())
            case 1:
                wanted = self.rng.choice((None, None, self.rng.randint(1, 5)))
                self.propose(member, member.registry.plan_node_id(own.directory_id, wanted))
            case 2:
                self.committed_end = self.rng.randint(self.committed_end, len(self.log))
            case 3 | 4:
                end = self.rng.randint(member.committed, max(self.committed_end, member.committed))
                self.commit_to(member, end)
            case 5:
                self.lose_tail()
            case 6:
                wiped = self.rng.random() < 0.3
                directory = f"d{self.seeds}" if wiped else own.directory_id
                self.members[number] = self.start(ReplicaId(own.node_id, directory))
            case _:
                for _ in range(self.rng.choice((1, 400))):
                    if (producer_id := member.registry.take_producer_id()) is not None:
                        self.producer_ids.append(producer_id)


@pytest.mark.parametrize("seed", range(100))
def test_no_id_is_given_twice_whoever_claims_and_whatever_is_lost(seed: int) -> None:
    """Members restart, lose their disks, lose elections with what they appended; ids stay unique.

    Every image is that of a fresh replay of the same records, whatever was truncated before.
    """
    world = World(random.Random(seed))
    world.members = [world.start(ReplicaId(number, f"d{number}x")) for number in range(1, 4)]
    given: dict[str, NodeId] = {}
    for _ in range(200):
        world.step()
        for member in world.members:
            for directory, node_id in member.registry.node_ids.items():
                assert given.setdefault(directory, node_id) == node_id
    assert len(set(given.values())) == len(given)
    assert len(set(world.producer_ids)) == len(world.producer_ids)
    for member in world.members:
        fresh = Registry(member.registry.own, random.Random(0))
        fresh.appended(MESH_SHARD, 0, world.log[: member.appended])
        assert state(member.registry.tentative) == state(fresh.tentative)


def test_what_was_truncated_is_free_again() -> None:
    """A topic whose record is lost with its leader can be made, and others are left alone."""
    mesh = Mesh()
    mesh.create("kept")
    other = mesh.propose(mesh.plan("other"))
    lost = mesh.propose(mesh.plan("lost"))
    mesh.registry.truncated(lost.shard, mesh.ends[lost.shard] - 1)
    assert mesh.registry.tentative.topics.keys() == {"kept", "other"}
    assert other.shard != lost.shard
    mesh.plan("lost")


def test_when_the_largest_node_id_is_taken_gaps_are_given() -> None:
    """An id is a number that an int32 can say, and still never given twice."""
    registry = a_registry()
    claims = [("a", 2**31 - 1), ("b", 1), ("c", None), ("d", None)]
    for offset, (directory, wanted) in enumerate(claims):
        [pair] = registry.plan_node_id(directory, wanted).records
        registry.committed(MESH_SHARD, offset, pair)
    assert registry.node_ids == {"a": 2**31 - 1, "b": 1, "c": 2, "d": 3}
