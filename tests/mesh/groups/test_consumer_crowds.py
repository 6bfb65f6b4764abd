"""Whole groups at random: members that come, go, stall and forget; topics that grow; restarts.

After each turn the driver replays the log and compares (see consumer_driver); here it is checked
that nobody reads what somebody else reads, and that quiet groups come to rest.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from mesh.groups.consumer_image import MemberState
from tests.mesh.groups.consumer_driver import GROUP, Client, Driver

NAMES = ("flights", "planes", "weather", "airports")


class Crowd:
    """Members of one group, as many as chance wants."""

    def __init__(self, seed: int) -> None:
        """A mesh with topics, and nobody in the group."""
        self.rng = random.Random(seed)
        interval_ms = self.rng.choice([0, 0, 1_000])
        self.driver = Driver(seed, consumer_assignment_ms=interval_ms)
        for name in NAMES:
            self.driver.topics.add(name, self.rng.randint(1, 8))
        self.clients: list[Client] = []
        self.gone: list[Client] = []
        """Who left, or was forgotten, and may still think that it is in."""
        self._made = 0

    def newcomer(self) -> None:
        rng = self.rng
        self._made += 1
        instance_id = f"i{rng.randrange(4)}" if rng.random() < 0.3 else None
        if self.is_taken(instance_id):
            instance_id = None
        client = Client(
            self.driver,
            f"m{self._made}",
            rng.sample(NAMES, rng.randint(1, 3)),
            regex=rng.choice([None, None, None, "f.*", ".*s"]),
            instance_id=instance_id,
            assignor=rng.choice([None, None, "range"]),
        )
        self.clients.append(client)
        client.beat()

    def is_taken(self, instance_id: str | None) -> bool:
        """Whether somebody who is there has this instance id."""
        return instance_id is not None and instance_id in {one.instance_id for one in self.clients}

    def step(self) -> None:
        """Let one thing happen."""
        rng, driver = self.rng, self.driver
        chance = rng.random()
        if chance < 0.15 or not self.clients:
            self.newcomer()
        elif chance < 0.7:
            rng.choice(self.clients).beat(say=rng.random() < 0.8)
        elif chance < 0.78:
            client = rng.choice(self.clients)
            self.clients.remove(client)
            client.leave(-2 if client.instance_id and rng.random() < 0.5 else -1)
        elif chance < 0.82:
            self.gone.append(self.clients.pop(rng.randrange(len(self.clients))))
        elif chance < 0.86 and self.gone:
            if not self.is_taken(self.gone[-1].instance_id):
                self.clients.append(self.gone.pop())
        elif chance < 0.9:
            topic = driver.topics.by_name[rng.choice(NAMES)]
            driver.topics.add(topic.name, topic.partition_count + 1)
        elif chance < 0.93:
            driver.start()
        else:
            driver.sleep(rng.choice([10, 1_000, 11_000, 50_000]))

    def check(self) -> None:
        """Nobody was told that it has what somebody else was told to have, and still may."""
        group = self.driver.groups.group(GROUP)
        if group is None:
            return
        held = Counter(
            (topic_id, partition)
            for member in group.members.values()
            for epochs in (member.assigned, member.revoking)
            for topic_id, partitions in epochs.items()
            for partition in partitions
        )
        assert set(held.values()) <= {1}
        # What a client reads it was told to: of those that are members by their own epoch.
        reads = Counter(
            (topic_id, partition)
            for client in [*self.clients, *self.gone]
            if client.member_id in group.members and client.epoch > 0
            for topic_id, partitions in client.owned.items()
            for partition in partitions
        )
        assert set(reads.values()) <= {1}

    def come_to_rest(self) -> None:
        """Let those who are there send heartbeats, and nothing else happen."""
        for _ in range(40):
            for client in self.clients:
                client.beat()
            self.driver.sleep(4_000)


@pytest.mark.parametrize("seed", range(60))
def test_no_partition_has_two_readers_and_quiet_groups_are_stable(seed: int) -> None:
    """At every step, and at the end all have what is theirs at the group's own epoch."""
    crowd = Crowd(seed)
    for _ in range(70):
        crowd.step()
        crowd.check()
    crowd.come_to_rest()
    crowd.check()
    group = crowd.driver.groups.group(GROUP)
    assert group is not None
    assert group.members.keys() == {client.member_id for client in crowd.clients}
    assert group.state == ("Stable" if crowd.clients else "Empty")
    for client in crowd.clients:
        member = group.members[client.member_id]
        assert (member.state, member.member_epoch) == (MemberState.STABLE, group.group_epoch)
        assert client.epoch == group.group_epoch
        target = {topic: set(parts) for topic, parts in group.targets[client.member_id].items()}
        assert client.owned == target
    read = {topic for client in crowd.clients for topic in client.owned}
    for topic_id in read:
        topic = crowd.driver.topics.with_id(topic_id)
        assert topic is not None
        parts = sorted(p for client in crowd.clients for p in client.owned.get(topic_id, ()))
        assert parts == list(range(topic.partition_count)), "every partition has its reader"
