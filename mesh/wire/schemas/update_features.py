"""UpdateFeatures: raise or lower finalized feature levels (KIP-584)."""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message, Struct
from mesh.wire.types import Bool, Int8, Int16, Int32, since, until


class UpdateFeaturesRequest(Message, api_key=57, versions=(0, 2), flexible_from=0):
    timeout_ms: Int32 = 60000
    feature_updates: list[FeatureUpdateKey] = []
    validate_only: Annotated[Bool, since(1)] = False


class FeatureUpdateKey(Struct):
    feature: str = ""
    max_version_level: Int16 = 0
    allow_downgrade: Annotated[Bool, until(0)] = False
    upgrade_type: Annotated[Int8, since(1)] = 1


class UpdateFeaturesResponse(Message, api_key=57, versions=(0, 2), flexible_from=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: str | None = ""
    results: Annotated[list[UpdatableFeatureResult], until(1)] = []


class UpdatableFeatureResult(Struct):
    feature: str = ""
    error_code: Int16 = 0
    error_message: str | None = ""
