"""Groups that change their protocol at random, with coordinators that are replayed in between."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from mesh.model.errors import ErrorCode
from tests.mesh.groups.consumer_driver import GROUP, Client, Driver
from tests.mesh.groups.test_migrate import Old


def serve(old: Old) -> None:
    """Do what a classic client does, in a group of either kind."""
    code = old.beat() if old.member_id else ErrorCode.UNKNOWN_MEMBER_ID
    if code == ErrorCode.UNKNOWN_MEMBER_ID:
        old.member_id, old.owned = "", []
    if code == ErrorCode.NONE:
        return
    answer = old.join()
    if answer is None or answer.error_code:
        return
    assigned: dict[str, list[int]] = {}
    if answer.leader == answer.member_id:
        ids = [member.member_id for member in answer.members]
        for partition in range(6):
            assigned.setdefault(ids[partition % len(ids)], []).append(partition)
    old.sync(assigned)


@pytest.mark.parametrize("seed", range(40))
def test_no_partition_has_two_owners_while_a_group_changes(seed: int) -> None:
    """After each step, in a group by KIP-848; and at the end all is read, by either protocol."""
    rng = random.Random(seed)
    driver = Driver(seed)
    topic_id = driver.topics.add("flights", 6).topic_id
    olds: list[Old] = []
    news: list[Client] = []
    for number in range(60):
        chance = rng.random()
        if chance < 0.12:
            news.append(Client(driver, f"new-{number}", ["flights"]))
            news[-1].beat()
        elif chance < 0.24:
            olds.append(Old(driver))
            serve(olds[-1])
        elif chance < 0.34 and news:
            news.pop(rng.randrange(len(news))).leave()
        elif chance < 0.4 and olds:
            gone = olds.pop(rng.randrange(len(olds)))
            if gone.member_id:
                gone.leave()
        elif chance < 0.44:
            driver.start()
        elif chance < 0.72 and news:
            rng.choice(news).beat()
        elif olds:
            serve(rng.choice(olds))
        driver.sleep(rng.choice([10, 500]))
        group = driver.groups.group(GROUP)
        if group is not None:
            held = Counter(
                partition
                for member in group.members.values()
                for epochs in (member.assigned, member.revoking)
                for partition in epochs.get(topic_id, ())
            )
            assert set(held.values()) <= {1}
    for _ in range(30):
        for client in news:
            client.beat()
        for old in olds:
            serve(old)
        driver.sleep(4_000)
    if not olds and not news:
        return
    (listed,) = driver.coordinator.list()
    if news:
        group = driver.groups.group(GROUP)
        assert group is not None
        assert group.state == "Stable"
        members = group.members.values()
        read = sorted(p for member in members for p in member.assigned.get(topic_id, ()))
        assert read == list(range(6))
        assert len(group.members) == len(olds) + len(news)
    else:
        assert listed.group_type == "classic"
