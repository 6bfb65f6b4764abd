"""Features: levels that the mesh agreed on, and who may not be a member of it."""

from __future__ import annotations

import pytest

from mesh.model.errors import ErrorCode, KafkaError
from mesh.registry import (
    FORMAT_FEATURE,
    GROUP_FEATURE,
    Features,
    FeatureSet,
    FeatureUpdate,
    UnfitNodeError,
    Upgrade,
    plan_founding,
    plan_update_features,
)
from mesh.registry.records import SetFeature, encode
from tests.mesh.registry.builders import Mesh, a_registry

SUPPORTED = {FORMAT_FEATURE: (1, 3), "x": (0, 2)}


def update(mesh: Mesh, *updates: FeatureUpdate) -> None:
    """Plan and commit."""
    plan = plan_update_features(mesh.registry, updates, SUPPORTED)
    if plan.records:
        mesh.propose(plan)
        mesh.commit()


def test_a_mesh_is_founded_with_its_format_once() -> None:
    """The first start says it; a later one has nothing to say."""
    mesh = Mesh()
    assert mesh.registry.features == Features(-1, {})
    mesh.propose(plan_founding(mesh.registry))
    assert mesh.commit() == [FeatureSet(FORMAT_FEATURE, 1), FeatureSet(GROUP_FEATURE, 1)]
    assert mesh.registry.features == Features(1, {FORMAT_FEATURE: 1, GROUP_FEATURE: 1})
    assert plan_founding(mesh.registry).records == []


def test_a_mesh_of_an_older_release_gets_what_is_new_unless_it_was_switched_off() -> None:
    """The first start of this release raises it; a later one leaves what somebody lowered."""
    mesh = Mesh()
    update(mesh, FeatureUpdate(FORMAT_FEATURE, 1))
    mesh.propose(plan_founding(mesh.registry))
    assert mesh.commit() == [FeatureSet(GROUP_FEATURE, 1)]
    off = FeatureUpdate(GROUP_FEATURE, 0, Upgrade.SAFE_DOWNGRADE)
    mesh.propose(plan_update_features(mesh.registry, [off]))
    mesh.commit()
    assert mesh.registry.features.levels == {FORMAT_FEATURE: 1}
    assert plan_founding(mesh.registry).records == []


def test_the_epoch_rises_with_every_change_and_is_alike_everywhere() -> None:
    """It is the offset of the record that changed a level; what changes nothing leaves it."""
    mesh = Mesh()
    update(mesh, FeatureUpdate(FORMAT_FEATURE, 2), FeatureUpdate("x", 1))
    assert mesh.registry.features == Features(1, {FORMAT_FEATURE: 2, "x": 1})
    mesh.propose(mesh.registry.plan_node_id("d1", 1))
    update(mesh, FeatureUpdate(FORMAT_FEATURE, 2))  # It is there: no record.
    assert mesh.ends[0] == 3
    update(mesh, FeatureUpdate("x", 0, Upgrade.SAFE_DOWNGRADE))
    assert mesh.registry.features == Features(3, {FORMAT_FEATURE: 2}, frozenset({"x"}))


def test_replay_lowers_a_level_only_where_that_was_asked_for() -> None:
    """A record that was planned before the level rose further changes nothing."""
    registry = a_registry()
    records = [
        SetFeature("x", 2, may_lower=False),
        SetFeature("x", 1, may_lower=False),
        SetFeature("x", 2, may_lower=False),
        SetFeature("x", 1, may_lower=True),
    ]
    changes = [registry.committed(0, offset, encode(each)) for offset, each in enumerate(records)]
    assert changes == [[FeatureSet("x", 2)], [], [FeatureSet("x", 2)], [FeatureSet("x", 1)]]
    assert registry.features == registry.tentative.features == Features(3, {"x": 1})


@pytest.mark.parametrize(
    ("wanted", "fault"),
    [
        (FeatureUpdate("y", 1), "Node 1 does not support this feature."),
        (FeatureUpdate("x", 3), "Node 1 only supports versions 0-2"),
        (FeatureUpdate("x", -1), "A feature version cannot be less than 0."),
        (
            FeatureUpdate("x", 1),
            (
                "Can't downgrade the version of this feature without setting the upgrade type to "
                "either safe or unsafe downgrade."
            ),
        ),
        (
            FeatureUpdate(FORMAT_FEATURE, 3, Upgrade.SAFE_DOWNGRADE),
            "Can't downgrade to a newer version.",
        ),
        (FeatureUpdate("x", 1, 0), "There is no such upgrade type."),
        (FeatureUpdate(FORMAT_FEATURE, 0, 2), "Node 1 only supports versions 1-3"),
    ],
)
def test_one_wrong_update_refuses_all(wanted: FeatureUpdate, fault: str) -> None:
    """The first that cannot be made is named, in Kafka's words, and nothing is planned."""
    mesh = Mesh()
    update(mesh, FeatureUpdate(FORMAT_FEATURE, 2), FeatureUpdate("x", 2))
    good = FeatureUpdate(FORMAT_FEATURE if wanted.name != FORMAT_FEATURE else "x", 2)
    with pytest.raises(KafkaError) as caught:
        plan_update_features(mesh.registry, [good, wanted], SUPPORTED)
    assert caught.value.code == ErrorCode.INVALID_UPDATE_VERSION
    text = f"Invalid update version {wanted.level} for feature {wanted.name}. {fault}"
    assert caught.value.message == text


@pytest.mark.parametrize(
    ("name", "level", "text"),
    [
        (FORMAT_FEATURE, 2, "level 2 of gossamer.format, and this release supports 1 to 1: it"),
        ("gossamer.later", 1, "level 1 of gossamer.later, and this release does not know that"),
    ],
)
def test_a_node_that_cannot_do_what_the_mesh_agreed_on_does_not_run(
    name: str, level: int, text: str
) -> None:
    """The error names feature, level and what it takes; a level that was lowered is forgiven."""
    mesh = Mesh()
    mesh.registry.check_fitness()
    update_to = encode(SetFeature(name, level, may_lower=False))
    mesh.registry.committed(0, 0, update_to)
    with pytest.raises(UnfitNodeError, match=text):
        mesh.registry.check_fitness()
    mesh.registry.committed(0, 1, encode(SetFeature(name, 0, may_lower=True)))
    mesh.registry.check_fitness()


def test_a_node_whose_id_is_anothers_does_not_run() -> None:
    """Neither under an id that another directory claimed, nor under another than it has."""
    other, mine = Mesh(), Mesh()
    other.propose(other.registry.plan_node_id("another", 1))
    other.commit()
    with pytest.raises(UnfitNodeError, match="node id 1 belongs to directory another"):
        other.registry.check_fitness()
    mine.propose(mine.registry.plan_node_id("d1", 7))
    mine.commit()
    with pytest.raises(UnfitNodeError, match="has node id 7 in the mesh, and calls itself 1"):
        mine.registry.check_fitness()
