"""ListGroups (key 16): the groups that this node coordinates, by state and kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.purgatory import AfterCommit
from mesh.model.errors import KafkaError
from mesh.model.types import Now
from mesh.wire.schemas.list_groups import ListGroupsRequest, ListGroupsResponse

if TYPE_CHECKING:
    from mesh.broker.broker import Broker


def handle(
    broker: Broker, request: Request, body: ListGroupsRequest
) -> ListGroupsResponse | AfterCommit:
    """List what is committed: if something is not yet, wait for it."""
    states = {state.lower() for state in body.states_filter}
    kinds = {kind.lower() for kind in body.types_filter}
    try:
        groups = [
            group
            for coordinator in broker.coordinators.seats()
            for group in coordinator.list()
            if (not states or group.group_state.lower() in states)
            and (not kinds or group.group_type.lower() in kinds)
        ]
    except KafkaError as error:
        return ListGroupsResponse(error_code=error.code)
    response = ListGroupsResponse(groups=groups)
    waits = broker.coordinators.uncommitted
    if not waits:
        return response

    def finish(committed: bool, now: Now) -> ListGroupsResponse:
        return response

    deadline_ms = request.now.monotonic_ms + broker.config.offsets_commit_ms_max
    return AfterCommit(waits, deadline_ms, finish)


HANDLER = Handler(key=16, versions=(0, 5), request=ListGroupsRequest, handle=handle)
