"""Where the leaders are of what this node does not lead, in answers that can say it (KIP-951)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Request
from mesh.model.errors import ErrorCode
from mesh.wire.schemas import fetch
from mesh.wire.schemas.produce import LeaderIdAndEpoch, NodeEndpoint, ProduceResponse

if TYPE_CHECKING:
    from mesh.broker.broker import Broker

PRODUCE_SINCE, FETCH_SINCE = 10, 16
"""First versions of the two that can name another leader."""
BY_ID_SINCE = 13
"""First version of Produce with topic ids."""


def name_leaders(broker: Broker, request: Request, response: ProduceResponse) -> None:
    """Say where the leaders are of the partitions that a produce found no leader of here."""
    if request.api_version < PRODUCE_SINCE:
        return
    endpoints: dict[int, NodeEndpoint] = {}
    for answer in response.responses:
        by_id = request.api_version >= BY_ID_SINCE
        name = broker.topic_name(answer.topic_id) if by_id else answer.name
        for result in answer.partition_responses:
            if result.error_code != ErrorCode.NOT_LEADER_OR_FOLLOWER:
                continue
            found = broker.elsewhere(name, result.index)
            if found is None:
                continue
            owner, at = found
            result.current_leader = LeaderIdAndEpoch(
                leader_id=owner.node_id, leader_epoch=owner.leader_epoch
            )
            endpoints[owner.node_id] = NodeEndpoint(
                node_id=owner.node_id, host=at.host, port=at.port, rack=at.rack
            )
    response.node_endpoints = list(endpoints.values())


def name_leader(
    broker: Broker, name: str | None, data: fetch.PartitionData, response: fetch.FetchResponse
) -> None:
    """Say where the leader is of a partition that a fetch did not find led here."""
    found = broker.elsewhere(name, data.partition_index)
    if found is None:
        return
    owner, at = found
    data.current_leader = fetch.LeaderIdAndEpoch(
        leader_id=owner.node_id, leader_epoch=owner.leader_epoch
    )
    if all(known.node_id != owner.node_id for known in response.node_endpoints):
        response.node_endpoints.append(
            fetch.NodeEndpoint(node_id=owner.node_id, host=at.host, port=at.port, rack=at.rack)
        )
