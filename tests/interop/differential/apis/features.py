"""UpdateFeatures: levels of a feature that cannot be off, which each side has one of."""

from __future__ import annotations

from mesh.wire.schemas.api_versions import ApiVersionsRequest, ApiVersionsResponse
from mesh.wire.schemas.update_features import FeatureUpdateKey, UpdateFeaturesRequest
from tests.interop.differential.cases import case, surprise
from tests.interop.differential.talk import SetupError, Talk

UPGRADE, SAFE, UNSAFE = 1, 2, 3
SOFTWARE = {"client_software_name": "test", "client_software_version": "1.0"}


def feature(talk: Talk) -> tuple[str, int, int]:
    """Return a finalized feature whose lowest level is not 0: its name, lowest and highest level.

    Kafka has metadata.version, we have gossamer.format; both begin at their highest level.
    """
    answer = talk.connection.ask(ApiVersionsRequest(**SOFTWARE), 4)
    if not isinstance(answer, ApiVersionsResponse):
        raise SetupError(f"ApiVersions was answered with {answer}")
    for each in answer.supported_features:
        if each.min_version > 0:
            talk.names[each.name] = "feature"
            return each.name, each.min_version, each.max_version
    raise SetupError("every feature may be off")


def update(
    *wanted: tuple[str, int, int], validate_only: bool = True, timeout_ms: int = 15_000
) -> UpdateFeaturesRequest:
    """Return an UpdateFeatures of (name, level, upgrade type); version 0 has no other than 1."""
    keys = [
        FeatureUpdateKey(
            feature=name,
            max_version_level=level,
            allow_downgrade=upgrade != UPGRADE,
            upgrade_type=upgrade,
        )
        for name, level, upgrade in wanted
    ]
    return UpdateFeaturesRequest(
        timeout_ms=timeout_ms, feature_updates=keys, validate_only=validate_only
    )


@case(UpdateFeaturesRequest)
def update_features_to_the_same(talk: Talk) -> None:
    """To the level that is there, tried and done, once, twice, with and without time; nothing"""
    name, _, level = feature(talk)
    for validate_only in (True, False):
        for timeout_ms in (15_000, 0, -1):
            request = update(
                (name, level, UPGRADE), validate_only=validate_only, timeout_ms=timeout_ms
            )
            talk.ask(request, label=f"{validate_only} {timeout_ms} ms")
    talk.ask(update((name, level, UPGRADE), (name, level, UPGRADE)), label="twice")
    talk.ask(update(), label="nothing")


@case(UpdateFeaturesRequest)
def update_features_to_wrong_levels(talk: Talk) -> None:
    """Above what is supported, below it, zero, negative"""
    name, lowest, highest = feature(talk)
    for what, level in (
        ("above", highest + 1),
        ("32767", 32767),
        ("below", lowest - 1),
        ("zero", 0),
        ("-1", -1),
        ("-32768", -32768),
    ):
        for upgrade in (UPGRADE, SAFE, UNSAFE):
            talk.ask(update((name, level, upgrade)), label=f"{what} by {upgrade}")


@case(UpdateFeaturesRequest)
def update_features_unknown(talk: Talk) -> None:
    """Unknown features alone and beside one that is right: all of the request fails"""
    name, _, level = feature(talk)
    right = name, level, UPGRADE
    for unknown in ("no.such.feature", "", "a/b"):
        for wanted in (0, 1, -1):
            talk.ask(update((unknown, wanted, UPGRADE)), label=f"{unknown!r} to {wanted}")
            talk.ask(update((unknown, wanted, UNSAFE)), label=f"{unknown!r} down to {wanted}")
    talk.ask(update(right, ("no.such.feature", 1, UPGRADE)), label="right and unknown")
    talk.ask(update(("no.such.feature", 1, UPGRADE), right), label="unknown and right")
    talk.ask(update((name, level + 1, UPGRADE), right), label="wrong, then right")
    talk.ask(update(right, (name, level + 1, UPGRADE)), label="right, then wrong")


@case(UpdateFeaturesRequest, versions=(1, 2))
def update_features_by_types(talk: Talk) -> None:
    """To the level that is there by every upgrade type, and by ones that do not exist"""
    name, _, level = feature(talk)
    for upgrade in (UPGRADE, SAFE, UNSAFE, 0, 4, -1):
        talk.ask(update((name, level, upgrade)), label=f"by {upgrade}")


surprise(
    UpdateFeaturesRequest,
    """One feature that cannot be brought to its level fails the whole request, and no results
    are given; where all goes well each result of versions 0 and 1 has the text NONE.""",
)
surprise(
    UpdateFeaturesRequest,
    """Of a feature that is named twice only the last entry counts.""",
)
surprise(
    UpdateFeaturesRequest,
    """The field of version 0 that allows to lower a level (allow_downgrade) is not looked at.""",
)
surprise(
    UpdateFeaturesRequest,
    """A time-out of zero or less does not run out.""",
)
