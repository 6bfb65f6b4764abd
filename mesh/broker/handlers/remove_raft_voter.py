"""RemoveRaftVoter (key 81): a controller leaves the metadata quorum (KIP-853); there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.handlers.add_raft_voter import check_voter, no_such_quorum
from mesh.model.errors import KafkaError
from mesh.wire.schemas.remove_raft_voter import RemoveRaftVoterRequest, RemoveRaftVoterResponse

if TYPE_CHECKING:
    from mesh.broker.broker import Broker


def handle(
    broker: Broker, request: Request, body: RemoveRaftVoterRequest
) -> RemoveRaftVoterResponse:
    """Refuse it, as Kafka does where the voters among its controllers are fixed."""
    response = RemoveRaftVoterResponse()
    try:
        check_voter(broker, "Remove", body.cluster_id, body.voter_id, body.voter_directory_id)
        raise no_such_quorum("removed")
    except KafkaError as error:
        response.error_code, response.error_message = error.code, error.message
    return response


HANDLER = Handler(key=81, versions=(0, 0), request=RemoveRaftVoterRequest, handle=handle)
