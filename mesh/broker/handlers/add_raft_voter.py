"""AddRaftVoter (key 80): a controller joins the metadata quorum (KIP-853); here there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import NodeId
from mesh.wire.schemas.add_raft_voter import AddRaftVoterRequest, AddRaftVoterResponse
from mesh.wire.types import NO_UUID

if TYPE_CHECKING:
    from mesh.broker.broker import Broker


def handle(broker: Broker, request: Request, body: AddRaftVoterRequest) -> AddRaftVoterResponse:
    """Refuse it, as Kafka does where the voters among its controllers are fixed."""
    response = AddRaftVoterResponse()
    try:
        check_voter(broker, "Add", body.cluster_id, body.voter_id, body.voter_directory_id)
        if not body.listeners:
            text = "Add voter request didn't include an endpoint of the voter"
            raise KafkaError(ErrorCode.INVALID_REQUEST, text)
        raise no_such_quorum("added")
    except KafkaError as error:
        response.error_code, response.error_message = error.code, error.message
    return response


def check_voter(
    broker: Broker, what: str, cluster_id: str | None, voter_id: NodeId, directory_id: bytes
) -> None:
    """Check what both requests about voters say.

    Raises:
        KafkaError: it is meant for another cluster, or names no voter.
    """
    if cluster_id not in (None, broker.cluster_id):
        text = f"The given id {cluster_id!r} doesn't match the cluster id {broker.cluster_id!r}"
        raise KafkaError(ErrorCode.INCONSISTENT_CLUSTER_ID, text)
    if voter_id < 0 or directory_id == NO_UUID:
        text = f"{what} voter request didn't include a valid voter"
        raise KafkaError(ErrorCode.INVALID_REQUEST, text)


def no_such_quorum(done: str) -> KafkaError:
    """Return the error for a voter that cannot be `done`: Kafka's code for a fixed quorum."""
    return KafkaError(
        ErrorCode.UNSUPPORTED_VERSION,
        f"No voter can be {done}: a mesh has no controllers, and who votes on a partition follows "
        "from where its replicas are.",
    )


HANDLER = Handler(key=80, versions=(0, 1), request=AddRaftVoterRequest, handle=handle)
