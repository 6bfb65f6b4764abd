"""Images: the same records give the same image, whoever replays them and however they commit."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from mesh.model.errors import KafkaError
from mesh.registry import (
    SHARD_COUNT,
    FeatureUpdate,
    Plan,
    RecordPair,
    Upgrade,
    plan_alter_broker_config,
    plan_alter_topic_config,
    plan_create_partitions,
    plan_delete_topic,
    plan_update_features,
)
from mesh.registry.image import Image
from tests.mesh.registry.builders import Mesh, a_registry

NAMES = ("a", "b.c", "b_c", "d")
SUPPORTED = {"x": (0, 3), "gossamer.format": (1, 2)}


def state(image: Image) -> dict[str, object]:
    """All that an image holds; a Topic is equal if all that it says is."""
    return dict(vars(image))


def some_plan(mesh: Mesh, rng: random.Random) -> Plan | None:
    """Plan something, of every kind that there is; None where Kafka refuses it."""
    name, count = rng.choice(NAMES), rng.randint(1, 5)
    registry, config = mesh.registry, mesh.config
    there = registry.tentative.topics.get(name)
    directory = f"d{rng.randint(1, 5)}"
    update = FeatureUpdate(rng.choice(sorted(SUPPORTED)), rng.randint(0, 3), rng.choice([*Upgrade]))
    topic_change = (rng.choice(("retention.ms", "segment.ms")), rng.randint(0, 1), str(count))
    node_change = ("message.max.bytes", rng.randint(0, 1), str(count))
    node = rng.choice(("", "1"))
    kinds: list[Callable[[], Plan | None]] = [
        lambda: mesh.plan(name, partition_count=count, configs=[("segment.ms", str(count))]),
        lambda: None if there is None else plan_delete_topic(there),
        lambda: plan_create_partitions(registry, name, count, None),
        lambda: plan_alter_topic_config(registry, name, [topic_change], config),
        lambda: plan_alter_broker_config(registry, node, [node_change], config),
        lambda: registry.plan_producer_ids(),
        lambda: registry.plan_node_id(directory, rng.choice((None, None, count))),
        lambda: plan_update_features(registry, [update], SUPPORTED),
    ]
    try:
        plan = rng.choice(kinds)()
    except KafkaError:
        return None
    return plan if plan is not None and plan.records else None


@pytest.mark.parametrize("seed", range(150))
def test_one_history_gives_one_image(seed: int) -> None:
    """Tentative, committed and replayed anew, shard after shard: all equal once all is committed.

    Some plans are appended late, when what they were checked against has changed.
    """
    rng, mesh = random.Random(seed), Mesh(nodes=3, seed=seed)
    log: list[tuple[int, int, RecordPair]] = []
    late: list[Plan] = []
    for _ in range(60):
        plan = some_plan(mesh, rng)
        if plan is not None and rng.random() < 0.3:
            late.append(plan)
            plan = late.pop(0) if len(late) > 3 else None
        if plan is not None:
            end = mesh.ends[plan.shard]
            log += [(plan.shard, end + at, pair) for at, pair in enumerate(plan.records)]
            mesh.propose(plan)
        if rng.random() < 0.2:
            mesh.commit()
    mesh.commit()
    committed = state(mesh.registry._committed)
    assert state(mesh.registry.tentative) == committed
    node_ids = mesh.registry.node_ids.values()
    assert len(set(node_ids)) == len(node_ids)
    restarted, other = a_registry(), a_registry(seed + 1)
    for shard in range(SHARD_COUNT):
        for at, offset, pair in log:
            if at == shard:
                restarted.committed(shard, offset, pair)
    for shard, offset, pair in log:
        other.appended(shard, offset, [pair])
    assert state(restarted._committed) == state(restarted.tentative) == committed
    assert state(other.tentative) == committed
    assert state(other._committed) == state(a_registry()._committed)
