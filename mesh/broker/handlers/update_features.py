"""UpdateFeatures (key 57): raise or lower what all members of the mesh agreed on (KIP-584)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.purgatory import AfterCommit
from mesh.broker.resources import ALTER_MS_MAX
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import Now
from mesh.registry import FeatureUpdate, plan_update_features
from mesh.wire.schemas.update_features import (
    UpdatableFeatureResult,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker

_ALL_FAILED = "The update failed for all features since the following feature had an error"


def handle(
    broker: Broker, request: Request, body: UpdateFeaturesRequest
) -> UpdateFeaturesResponse | AfterCommit:
    """Propose all of the changes or none; with validate_only, only say whether they could be."""
    # Of a feature that is named twice the last entry counts. As in Kafka's controller, the field
    # of version 0 that allows to lower a level does not: its upgrade type is the default.
    updates = {
        each.feature: FeatureUpdate(each.feature, each.max_version_level, each.upgrade_type)
        for each in body.feature_updates
    }
    try:
        plan = plan_update_features(broker.registry, list(updates.values()))
    except KafkaError as error:
        return _failed(error.code, f"{_ALL_FAILED}: {error.message}")
    if body.validate_only or not plan.records:
        return _done(body)
    try:
        shard, end_offset = broker.propose(plan, request.now)
    except KafkaError as error:
        return _failed(error.code, error.message)

    leader_epoch = shard.leader_epoch

    def finish(committed: bool, now: Now) -> UpdateFeaturesResponse:
        if committed:
            return _done(body)
        if shard.outlived(end_offset, leader_epoch) is False:  # The relay asks again.
            return _failed(ErrorCode.NOT_CONTROLLER, "This node leads that shard no more.")
        return _failed(ErrorCode.REQUEST_TIMED_OUT, "The request timed out.")

    # Kafka heeds no time-out here, and so takes zero and less for any.
    wait_ms = body.timeout_ms if body.timeout_ms > 0 else ALTER_MS_MAX
    deadline_ms = request.now.monotonic_ms + wait_ms
    replayed = broker.registry.replayed_ends
    return AfterCommit(
        [(shard, end_offset)],
        deadline_ms,
        finish,
        lambda: replayed[shard.index] >= end_offset,
        outlives=True,
    )


def _done(body: UpdateFeaturesRequest) -> UpdateFeaturesResponse:
    """Name every feature once more, which versions 0 and 1 have room for."""
    return UpdateFeaturesResponse(
        error_message=None,
        results=[
            UpdatableFeatureResult(feature=each.feature, error_message="NONE")
            for each in body.feature_updates
        ],
    )


def _failed(code: ErrorCode, text: str | None) -> UpdateFeaturesResponse:
    return UpdateFeaturesResponse(error_code=code, error_message=text)


HANDLER = Handler(key=57, versions=(0, 2), request=UpdateFeaturesRequest, handle=handle)
