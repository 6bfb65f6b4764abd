"""From UpdateFeatures to records: the levels of features that the mesh agreed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from mesh.model.errors import ErrorCode, KafkaError
from mesh.registry.records import LEVEL_END, SetFeature, encode
from mesh.registry.registry import (
    MESH_SHARD,
    SUPPORTED_FEATURES,
    Plan,
    Registry,
)


class Upgrade(IntEnum):
    """Which way a level may go; the numbers are the protocol's."""

    UPGRADE = 1
    SAFE_DOWNGRADE = 2
    UNSAFE_DOWNGRADE = 3


@dataclass(frozen=True, slots=True)
class FeatureUpdate:
    """What UpdateFeatures asks for."""

    name: str
    level: int
    """0 stands for none."""
    upgrade: int = Upgrade.UPGRADE


def plan_update_features(
    registry: Registry,
    updates: Sequence[FeatureUpdate],
    supported: Mapping[str, tuple[int, int]] = SUPPORTED_FEATURES,
) -> Plan:
    """Plan all of these changes, or none; no record for a level that is there already.

    Args:
        registry: its tentative image says which levels are there.
        updates: each of another feature; the caller refuses one that is named twice.
        supported: lowest and highest level of each feature that every member can do.

    Raises:
        KafkaError: INVALID_UPDATE_VERSION for the first one that cannot be made.
    """
    levels = registry.tentative.features.levels
    records = []
    for update in updates:
        if (fault := _fault(registry, update, supported)) is not None:
            text = f"Invalid update version {update.level} for feature {update.name}. {fault}"
            raise KafkaError(ErrorCode.INVALID_UPDATE_VERSION, text)
        if update.level != levels.get(update.name, 0):
            may_lower = update.upgrade != Upgrade.UPGRADE
            records.append(encode(SetFeature(update.name, update.level, may_lower)))
    return Plan(MESH_SHARD, records)


def plan_founding(registry: Registry) -> Plan:
    """Plan what a mesh begins with: the newest level of each feature.

    No records for what is said already; so a mesh that an older release founded gets the features
    that are new, but those that somebody switched off stay off.
    """
    features = registry.tentative.features
    return Plan(
        MESH_SHARD,
        [
            encode(SetFeature(name, level, may_lower=False))
            for name, (_, level) in SUPPORTED_FEATURES.items()
            if name not in features.levels and name not in features.lowered
        ],
    )


def _fault(
    registry: Registry, update: FeatureUpdate, supported: Mapping[str, tuple[int, int]]
) -> str | None:
    """Return in Kafka's words why a feature cannot be brought to this level."""
    current = registry.tentative.features.levels.get(update.name, 0)
    if update.upgrade not in list(Upgrade):
        return "There is no such upgrade type."
    if not 0 <= update.level < LEVEL_END:
        return "A feature version cannot be less than 0."
    if update.name not in supported:
        return f"Node {registry.own.node_id} does not support this feature."
    low, high = supported[update.name]
    if not low <= update.level <= high:
        only = str(low) if low == high else f"{low}-{high}"
        return f"Node {registry.own.node_id} only supports versions {only}"
    if update.level < current and update.upgrade == Upgrade.UPGRADE:
        return (
            "Can't downgrade the version of this feature without setting the upgrade type to "
            "either safe or unsafe downgrade."
        )
    if update.level > current and update.upgrade != Upgrade.UPGRADE:
        return "Can't downgrade to a newer version."
    return None
