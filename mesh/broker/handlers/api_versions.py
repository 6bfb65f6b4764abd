"""ApiVersions (key 18): what this node serves, derived from the handlers that exist."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mesh.broker.api import Handler, Request
from mesh.model.errors import ErrorCode
from mesh.registry import SUPPORTED_FEATURES
from mesh.wire.schemas.api_versions import (
    ApiVersion,
    ApiVersionsRequest,
    ApiVersionsResponse,
    FinalizedFeatureKey,
    SupportedFeatureKey,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker

_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")
"""What a client may call itself (KIP-511), as in Kafka's ApiVersionsRequest.isValid."""

_advertised: list[ApiVersion] = []


def advertise(handlers: Iterable[Handler[Any]]) -> None:
    """Take the table of handlers; called once, when it is complete."""
    _advertised[:] = [
        ApiVersion(
            api_key=handler.key,
            min_version=handler.advertised[0],
            max_version=handler.advertised[1],
        )
        for handler in sorted(handlers, key=lambda handler: handler.key)
    ]


def own_table() -> bytes:
    """Return what this release serves as gossip tells it: key, lowest and highest version each."""
    rows = ((row.api_key, row.min_version, row.max_version) for row in _advertised)
    return bytes(number for row in rows for number in row)


def common(tables: Iterable[bytes]) -> list[ApiVersion]:
    """Return what every member serves, whose tables these are.

    Some clients hold what one node serves for what all do (docs/protocol.md R6), so nodes of
    different releases all tell the least of them.
    """
    known: list[dict[int, tuple[int, int]]] = []
    for table in tables:
        rows = zip(table[::3], table[1::3], table[2::3], strict=False)
        known.append({key: (low, high) for key, low, high in rows})
    found = []
    for row in _advertised:
        ranges = [rows[row.api_key] for rows in known if row.api_key in rows]
        low = max((row.min_version, *(low for low, _ in ranges)))
        high = min((row.max_version, *(high for _, high in ranges)))
        if len(ranges) == len(known) and low <= high:
            found.append(ApiVersion(api_key=row.api_key, min_version=low, max_version=high))
    return found


def unsupported() -> ApiVersionsResponse:
    """The answer to a version of ApiVersions that we do not know.

    Sent as version 0 and with exactly one entry, our own range: some clients take any longer list
    as final (docs/protocol.md G1; KIP-511).
    """
    own = [row for row in _advertised if row.api_key == HANDLER.key]
    return ApiVersionsResponse(error_code=ErrorCode.UNSUPPORTED_VERSION, api_keys=own)


def handle(broker: Broker, request: Request, body: ApiVersionsRequest) -> ApiVersionsResponse:
    """Tell every served API with its range, and from version 3 on the mesh's features."""
    if request.api_version >= 3:
        name, version = body.client_software_name, body.client_software_version
        if not (_SOFTWARE.fullmatch(name) and _SOFTWARE.fullmatch(version)):
            return ApiVersionsResponse(error_code=ErrorCode.INVALID_REQUEST)
        request.session.client_software = f"{name} {version}"
    features = broker.registry.features
    return ApiVersionsResponse(
        api_keys=_advertised if broker.served_by_all is None else broker.served_by_all,
        supported_features=_supported(request.api_version),
        finalized_features_epoch=features.epoch,
        finalized_features=[
            FinalizedFeatureKey(name=name, max_version_level=level, min_version_level=level)
            for name, level in features.levels.items()
        ],
    )


def _supported(version: int) -> list[SupportedFeatureKey]:
    """Return what this release can be a member at.

    Before version 4 without features that may be off (level 0): clients of that time refuse the
    whole answer for one (KAFKA-17011).
    """
    return [
        SupportedFeatureKey(name=name, min_version=low, max_version=high)
        for name, (low, high) in SUPPORTED_FEATURES.items()
        if low > 0 or version >= 4
    ]


HANDLER = Handler(key=18, versions=(0, 4), request=ApiVersionsRequest, handle=handle)
