"""UpdateFeatures and the features in ApiVersions, on a whole node, over the wire."""

from __future__ import annotations

import pytest

from mesh.model.errors import ErrorCode
from mesh.registry import FORMAT_FEATURE, GROUP_FEATURE, MESH_SHARD, Plan
from mesh.registry.records import SetFeature, encode
from mesh.wire.schemas.api_versions import ApiVersionsRequest, ApiVersionsResponse
from mesh.wire.schemas.update_features import (
    FeatureUpdateKey,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
)
from tests.mesh.node.peer import Peer

UPGRADE, SAFE = 1, 2
ALL_FAILED = "The update failed for all features since the following feature had an error: "


def told(peer: Peer, version: int = 4) -> ApiVersionsResponse:
    """What ApiVersions says."""
    request = ApiVersionsRequest(client_software_name="test", client_software_version="1")
    return peer.ask(request, ApiVersionsResponse, version=version)


def update(
    *wanted: tuple[str, int], validate_only: bool = False, upgrade: int = UPGRADE
) -> UpdateFeaturesRequest:
    """Ask for levels of features."""
    keys = [
        FeatureUpdateKey(feature=name, max_version_level=level, upgrade_type=upgrade)
        for name, level in wanted
    ]
    return UpdateFeaturesRequest(
        timeout_ms=1_000, feature_updates=keys, validate_only=validate_only
    )


def take_format_away(peer: Peer) -> None:
    """Propose that the format has no level, as no request can, so that one can bring it back."""
    record = encode(SetFeature(FORMAT_FEATURE, 0, may_lower=True))
    peer.node.broker.propose(Plan(MESH_SHARD, [record]), peer.now)


@pytest.mark.parametrize("version", range(5))
def test_what_the_mesh_agreed_on_is_told(version: int) -> None:
    """From version 3 on: our formats, and Kafka's groups, each at its highest level."""
    answer = told(Peer(), version)
    if version < 3:
        assert (answer.supported_features, answer.finalized_features) == ([], [])
        return
    ranges = {each.name: (each.min_version, each.max_version) for each in answer.supported_features}
    # Clients before version 4 would refuse the whole answer for a feature that may be off.
    groups = {GROUP_FEATURE: (0, 1)} if version >= 4 else {}
    assert ranges == {FORMAT_FEATURE: (1, 1)} | groups
    levels = {
        each.name: (each.min_version_level, each.max_version_level)
        for each in answer.finalized_features
    }
    assert levels == {FORMAT_FEATURE: (1, 1), GROUP_FEATURE: (1, 1)}
    assert answer.finalized_features_epoch >= 0


@pytest.mark.parametrize("version", range(3))
def test_a_level_that_is_there_needs_no_change(version: int) -> None:
    """The same level succeeds at once and leaves the epoch; older versions name each feature."""
    peer = Peer()
    before = told(peer).finalized_features_epoch
    request = update((FORMAT_FEATURE, 1), (FORMAT_FEATURE, 1))
    answer = peer.ask(request, UpdateFeaturesResponse, version=version)
    assert (answer.error_code, answer.error_message) == (0, None)
    results = [(each.feature, each.error_code, each.error_message) for each in answer.results]
    assert results == ([(FORMAT_FEATURE, 0, "NONE")] * 2 if version < 2 else [])
    assert told(peer).finalized_features_epoch == before


def test_a_change_is_answered_when_it_is_on_disk() -> None:
    """The answer waits for the sync; then level and a larger epoch are told, also later."""
    peer = Peer()
    before = told(peer).finalized_features_epoch
    take_format_away(peer)
    connection = peer.connect()
    peer.send(connection, update((FORMAT_FEATURE, 1), validate_only=True))
    assert len(peer.answers(connection)) == 1
    peer.send(connection, update((FORMAT_FEATURE, 1)))
    assert peer.answers(connection) == []
    peer.sync()
    [answer] = peer.answers(connection)
    assert isinstance(answer, UpdateFeaturesResponse)
    assert answer.error_code == 0
    for each in (peer, Peer(disk=peer.disk)):
        after = told(each)
        assert after.finalized_features_epoch == before + 2
        assert [level.max_version_level for level in after.finalized_features] == [1, 1]


def test_a_slow_disk_is_told_as_a_time_out() -> None:
    """A change that is not on disk by its deadline is answered REQUEST_TIMED_OUT."""
    peer = Peer()
    take_format_away(peer)
    connection = peer.connect()
    peer.send(connection, update((FORMAT_FEATURE, 1)))
    peer.pass_time(1_001)
    [answer] = peer.answers(connection)
    assert isinstance(answer, UpdateFeaturesResponse)
    assert answer.error_code == ErrorCode.REQUEST_TIMED_OUT


@pytest.mark.parametrize(
    ("request_", "what", "fault"),
    [
        (update(("metadata.version", 30)), "30 for feature metadata.version", "Node 1 does not"),
        (update((FORMAT_FEATURE, 2)), f"2 for feature {FORMAT_FEATURE}", "Node 1 only supports"),
        (
            update((FORMAT_FEATURE, 0), upgrade=SAFE),
            f"0 for feature {FORMAT_FEATURE}",
            "Node 1 only supports",
        ),
        (update((FORMAT_FEATURE, -1)), f"-1 for feature {FORMAT_FEATURE}", "A feature version"),
        (
            update((FORMAT_FEATURE, 1), upgrade=9),
            f"1 for feature {FORMAT_FEATURE}",
            "There is no such upgrade type.",
        ),
        (update((FORMAT_FEATURE, 1), ("x", 1)), "1 for feature x", "Node 1 does not support"),
    ],
)
def test_one_wrong_level_fails_the_whole_request(
    request_: UpdateFeaturesRequest, what: str, fault: str
) -> None:
    """Unknown features, levels out of range, unknown types: one error for all, and no results."""
    for version in (1, 2):
        answer = Peer().ask(request_, UpdateFeaturesResponse, version=version)
        assert answer.error_code == ErrorCode.INVALID_UPDATE_VERSION
        text = answer.error_message or ""
        assert text.startswith(f"{ALL_FAILED}Invalid update version {what}. {fault}"), text
        assert answer.results == []
