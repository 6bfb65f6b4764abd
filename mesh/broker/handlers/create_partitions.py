"""CreatePartitions (key 37): a topic can get more partitions, never fewer."""

from __future__ import annotations

import functools
from collections import Counter
from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.changes import Proposals, refuse
from mesh.broker.purgatory import AfterCommit
from mesh.model.errors import ErrorCode, KafkaError
from mesh.registry import check_partition_total, plan_create_partitions, shard_of
from mesh.wire.schemas.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopicResult,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker


def handle(
    broker: Broker, request: Request, body: CreatePartitionsRequest
) -> CreatePartitionsResponse | AfterCommit:
    """Propose what can be added; with validate_only, only say whether it could."""
    response = CreatePartitionsResponse()
    proposals = Proposals(broker, request.now)
    times = Counter(wanted.name for wanted in body.topics)
    if body.timeout_ms <= 0 and 1 in times.values():
        return _too_late(body)
    added = 0
    for wanted in {wanted.name: wanted for wanted in body.topics}.values():
        result = CreatePartitionsTopicResult(name=wanted.name)
        response.results.append(result)
        nodes = None
        if wanted.assignments is not None:
            nodes = [each.broker_ids for each in wanted.assignments]
        try:
            if times[wanted.name] > 1:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "Duplicate topic name.")
            plan = plan_create_partitions(broker.registry, wanted.name, wanted.count, nodes)
            assert plan.topic is not None
            new_count = wanted.count - plan.topic.partition_count
            check_partition_total(added + new_count)
            if not body.validate_only:
                proposals.add(plan)
            added += new_count
        except KafkaError as error:
            refuse(result, error)
        proposals.rest(shard_of(wanted.name), functools.partial(refuse, result))
    return proposals.answer(response, body.timeout_ms)


def _too_late(body: CreatePartitionsRequest) -> CreatePartitionsResponse:
    """Answer a request without time: as in Kafka nothing is looked at, and nothing added."""
    late = ErrorCode.REQUEST_TIMED_OUT
    return CreatePartitionsResponse(
        results=[
            CreatePartitionsTopicResult(name=wanted.name, error_code=late, error_message=None)
            for wanted in body.topics
        ]
    )


HANDLER = Handler(key=37, versions=(0, 3), request=CreatePartitionsRequest, handle=handle)
