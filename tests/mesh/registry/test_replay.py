"""Replay: what records do to the two images, against stories and a naive oracle."""

from __future__ import annotations

import random

import pytest

from mesh.model.errors import KafkaError
from mesh.registry import (
    PRODUCER_ID_BLOCK,
    BrokerConfigChanged,
    ConfigChanged,
    DamagedRecordError,
    NodeIdClaimed,
    PartitionsAdded,
    ProducerIdsClaimed,
    RecordPair,
    TopicCreated,
    TopicDeleted,
    plan_alter_broker_config,
    plan_alter_topic_config,
    plan_create_partitions,
    plan_delete_topic,
    shard_of,
)
from tests.mesh.registry.builders import Mesh, a_registry


def test_what_is_appended_is_seen_by_requests_and_not_yet_by_readers() -> None:
    """A topic counts for the next create at once, and is read only once it is committed."""
    mesh = Mesh()
    plan = mesh.propose(mesh.plan("orders"))
    assert "orders" not in mesh.registry.topics
    with pytest.raises(KafkaError, match="Topic 'orders' already exists"):
        mesh.plan("orders")
    assert plan.topic is not None
    assert mesh.commit() == [TopicCreated(plan.topic)]
    images = (mesh.registry.topics, mesh.registry.tentative.topics)
    committed, tentative = (topics["orders"] for topics in images)
    assert committed == tentative
    assert committed.replicas is tentative.replicas
    assert committed.configs is tentative.configs
    assert mesh.registry.topics_by_id[plan.topic.topic_id].name == "orders"


def test_of_two_records_for_one_name_the_first_wins_everywhere() -> None:
    """Two creates that did not see each other: the second changes nothing, on every node."""
    mesh = Mesh()
    first, second = mesh.plan("orders"), mesh.plan("orders")
    assert first.topic is not None
    mesh.propose(first)
    mesh.propose(second)
    assert mesh.commit() == [TopicCreated(first.topic)]
    assert list(mesh.registry.topics_by_id) == [first.topic.topic_id]


def test_names_that_collide_share_a_shard_and_one_wins() -> None:
    """`a.b` and `a_b` that did not see each other: one order decides between them."""
    mesh = Mesh()
    first, second = mesh.plan("a.b"), mesh.plan("a_b")
    assert first.shard == second.shard
    mesh.propose(first)
    mesh.propose(second)
    mesh.commit()
    assert list(mesh.registry.topics) == ["a.b"]


def test_a_recreated_topic_is_another_and_late_records_miss_it() -> None:
    """Records for a topic that was deleted do not touch its successor of the same name."""
    mesh = Mesh()
    old = mesh.create("orders").topic
    assert old is not None
    late_add = plan_create_partitions(mesh.registry, "orders", 5, None)
    late_alter = plan_alter_topic_config(
        mesh.registry, "orders", [("retention.ms", 0, "5")], mesh.config
    )
    late_delete = plan_delete_topic(old)
    mesh.propose(plan_delete_topic(old))
    new = mesh.propose(mesh.plan("orders")).topic
    for late in (late_add, late_alter, late_delete):
        mesh.propose(late)
    assert new is not None
    assert new.topic_id != old.topic_id
    assert mesh.commit() == [TopicDeleted(old), TopicCreated(new)]
    assert mesh.registry.topics["orders"] == new


def test_partitions_are_added_once() -> None:
    """Two requests for the same number of partitions that raced add them once."""
    mesh = Mesh()
    mesh.create("orders")
    plans = [plan_create_partitions(mesh.registry, "orders", 3, None) for _ in range(2)]
    for plan in plans:
        mesh.propose(plan)
    [change] = mesh.commit()
    assert isinstance(change, PartitionsAdded)
    assert (change.first_index, change.topic.partition_count) == (1, 3)


def test_config_changes_are_told_with_all_that_is_set() -> None:
    """A change names the topic, or the node, with every value it has afterwards."""
    mesh = Mesh()
    mesh.create("orders", configs=[("retention.ms", "5")])
    mesh.propose(
        plan_alter_topic_config(
            mesh.registry,
            "orders",
            [("retention.ms", 1, None), ("segment.ms", 0, "7")],
            mesh.config,
        )
    )
    mesh.propose(
        plan_alter_broker_config(mesh.registry, "", [("message.max.bytes", 0, "10")], mesh.config)
    )
    first, second = mesh.commit()
    assert isinstance(first, ConfigChanged)
    assert first.topic.configs == {"segment.ms": "7"}
    assert second == BrokerConfigChanged("", {"message.max.bytes": "10"})
    assert mesh.registry.broker_configs[""] == {"message.max.bytes": "10"}


def test_a_directory_keeps_its_node_id_and_no_id_is_given_twice() -> None:
    """A repeated claim is answered alike; a taken id is refused; others get the next one."""
    mesh = Mesh()
    claim = mesh.registry.plan_node_id
    for directory, wanted in (("a", 1), ("b", None), ("a", None), ("c", 2), ("c", 9), ("d", None)):
        mesh.propose(claim(directory, wanted))
    assert mesh.commit() == [
        NodeIdClaimed("a", 1),
        NodeIdClaimed("b", 2),
        NodeIdClaimed("a", 1),
        NodeIdClaimed("c", 9),
        NodeIdClaimed("d", 10),
    ]


def test_producer_ids_are_given_once_over_all_starts() -> None:
    """Ids come only from blocks that this very start claimed, and each only once."""
    log: list[RecordPair] = []
    given: list[int] = []
    for start in range(4):
        registry = a_registry(start)
        for offset, pair in enumerate(log):
            registry.committed(0, offset, pair)
        assert registry.take_producer_id() is None
        for _ in range(2):
            [pair] = registry.plan_producer_ids().records
            [change] = registry.committed(0, len(log), pair)
            assert change == ProducerIdsClaimed(
                1, registry.start, len(log) * PRODUCER_ID_BLOCK, PRODUCER_ID_BLOCK
            )
            log.append(pair)
        given += [registry.take_producer_id() or 0 for _ in range(PRODUCER_ID_BLOCK + 7)]
    assert len(set(given)) == len(given) == 4 * (PRODUCER_ID_BLOCK + 7)


def test_damage_is_told_before_anything_is_applied() -> None:
    """A damaged record stops the replay with its place, and leaves the images as they were."""
    mesh = Mesh()
    mesh.create("orders")
    shard = shard_of("orders")
    with pytest.raises(DamagedRecordError, match=f"registry shard {shard}, record at offset 1: "):
        mesh.registry.committed(shard, 1, RecordPair(b"key", b"\xff\xff"))
    assert list(mesh.registry.topics) == ["orders"]


class Oracle:
    """The same rules, the slow way: the whole history is walked for every question."""

    def __init__(self) -> None:
        self.history: list[tuple[str, str, int]] = []

    def topics(self) -> dict[str, int]:
        """Partitions by name, after the history."""
        found: dict[str, int] = {}
        for what, name, count in self.history:
            if what == "create":
                taken = {other.replace(".", "_") for other in found}
                if name.replace(".", "_") not in taken:
                    found[name] = count
            elif what == "delete":
                found.pop(name, None)
            elif name in found and found[name] < count:
                found[name] = count
        return found


@pytest.mark.parametrize("seed", range(200))
def test_images_are_what_walking_the_history_says(seed: int) -> None:
    """Whatever is asked and whenever it commits, both images agree with the oracle."""
    rng, mesh = random.Random(seed), Mesh(seed=seed)
    asked, settled = Oracle(), Oracle()
    log: list[tuple[int, int, RecordPair]] = []
    for _ in range(40):
        name, count = rng.choice(("a", "b.c", "b_c", "d")), rng.randint(1, 5)
        there = mesh.registry.tentative.topics.get(name)
        what = rng.choice(("create", "delete", "grow", "commit"))
        plan = None
        try:
            if what == "create":
                plan = mesh.plan(name, partition_count=count)
            elif what == "delete" and there is not None:
                plan = plan_delete_topic(there)
            elif what == "grow":
                plan = plan_create_partitions(mesh.registry, name, count, None)
        except KafkaError:
            pass  # The oracle ignores it likewise.
        if what == "commit":
            mesh.commit()
            settled.history = list(asked.history)
        else:
            asked.history.append((what, name, count))
            if plan is not None:
                log += [(plan.shard, mesh.ends[plan.shard], pair) for pair in plan.records]
                mesh.propose(plan)
        images = (mesh.registry.tentative.topics, mesh.registry.topics)
        for image, oracle in zip(images, (asked, settled), strict=True):
            assert {each.name: each.partition_count for each in image.values()} == oracle.topics()
    mesh.commit()
    restarted = a_registry()
    for shard, offset, pair in log:
        restarted.committed(shard, offset, pair)
    assert restarted.topics == mesh.registry.topics
    assert restarted.topics_by_id == mesh.registry.topics_by_id
