"""DeleteTopics (key 20): by name, and from version 6 on also by id."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.changes import Proposals, refuse
from mesh.broker.purgatory import AfterCommit
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import NO_TOPIC_ID, TopicId
from mesh.registry import Registry, Topic, plan_delete_topic, shard_of
from mesh.wire.schemas.delete_topics import (
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker

_UNKNOWN_NAME = "This server does not host this topic-partition."
_UNKNOWN_ID = "This server does not host this topic ID."


def handle(
    broker: Broker, request: Request, body: DeleteTopicsRequest
) -> DeleteTopicsResponse | AfterCommit:
    """Propose the end of every topic that was named once."""
    response = DeleteTopicsResponse()
    proposals = Proposals(broker, request.now)
    states = body.topics or [DeleteTopicState(name=name) for name in body.topic_names]
    asked = _distinct(broker.registry, states)
    if body.timeout_ms <= 0 and any(_is_proper(state, twice) for state, twice in asked):
        return _too_late(states)
    for state, twice in asked:
        result = DeletableTopicResult(name=state.name, topic_id=state.topic_id)
        response.responses.append(result)
        try:
            if not broker.config.delete_topics:
                raise _disabled(request)
            if twice is not None:
                raise KafkaError(ErrorCode.INVALID_REQUEST, twice)
            topic = _find(broker.registry, state)
            proposals.add(plan_delete_topic(topic))
            result.name, result.topic_id = topic.name, topic.topic_id
        except KafkaError as error:
            refuse(result, error)
        if (name := _name_of(broker.registry, state)) is not None:
            proposals.rest(shard_of(name), functools.partial(refuse, result))
    return proposals.answer(response, body.timeout_ms)


def _is_proper(state: DeleteTopicState, twice: str | None) -> bool:
    """Whether a topic is named once, in one of the two ways."""
    return twice is None and (state.name is None) != (state.topic_id == NO_TOPIC_ID)


def _too_late(states: list[DeleteTopicState]) -> DeleteTopicsResponse:
    """Answer a request without time: as in Kafka nothing is looked at, and nothing goes."""
    late = ErrorCode.REQUEST_TIMED_OUT
    return DeleteTopicsResponse(
        responses=[
            DeletableTopicResult(
                name=state.name, topic_id=state.topic_id, error_code=late, error_message=None
            )
            for state in states
        ]
    )


def _distinct(
    registry: Registry, states: list[DeleteTopicState]
) -> list[tuple[DeleteTopicState, str | None]]:
    """Return each topic that is named, once, and what is wrong if it was named twice."""
    by_name = Counter(state.name for state in states if state.name is not None)
    by_id = Counter(state.topic_id for state in states if state.topic_id != NO_TOPIC_ID)
    found: dict[tuple[str | None, bytes], tuple[DeleteTopicState, str | None]] = {}
    for asked in states:
        state, twice = asked, None
        if state.name is not None and state.topic_id == NO_TOPIC_ID:
            topic = registry.tentative.topics.get(state.name)
            if by_name[state.name] > 1:
                twice = "Duplicate topic name."
            elif topic is not None and by_id[topic.topic_id]:
                twice = "The provided topic name maps to an ID that was already supplied."
                state = DeleteTopicState(name=state.name, topic_id=topic.topic_id)
        elif state.name is None and by_id[state.topic_id] > 1:
            twice = "Duplicate topic id."
        elif state.name is None and _named_too(registry, state.topic_id, by_name):
            continue  # The name gets the answer for both.
        found[state.name, state.topic_id] = (state, twice)
    return list(found.values())


def _named_too(registry: Registry, topic_id: TopicId, names: Collection[str | None]) -> bool:
    topic = registry.tentative.topics_by_id.get(topic_id)
    return topic is not None and topic.name in names


def _name_of(registry: Registry, state: DeleteTopicState) -> str | None:
    """Return the name that is meant; None for an id that no topic has, nor had a moment ago."""
    if state.name is not None:
        return state.name
    found = registry.tentative.topics_by_id.get(state.topic_id)
    found = found or registry.topics_by_id.get(state.topic_id)
    return None if found is None else found.name


def _find(registry: Registry, state: DeleteTopicState) -> Topic:
    named, numbered = state.name is not None, state.topic_id != NO_TOPIC_ID
    if named and numbered:
        text = "You may not specify both topic name and topic id."
        raise KafkaError(ErrorCode.INVALID_REQUEST, text)
    if state.name is not None:
        topic = registry.tentative.topics.get(state.name)
        if topic is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, _UNKNOWN_NAME)
        return topic
    if not numbered:
        text = "Neither topic name nor id were specified."
        raise KafkaError(ErrorCode.INVALID_REQUEST, text)
    topic = registry.tentative.topics_by_id.get(state.topic_id)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_ID, _UNKNOWN_ID)
    return topic


def _disabled(request: Request) -> KafkaError:
    if request.api_version < 3:  # Older clients do not know the better code.
        return KafkaError(ErrorCode.INVALID_REQUEST)
    return KafkaError(ErrorCode.TOPIC_DELETION_DISABLED, "Topic deletion is disabled.")


HANDLER = Handler(key=20, versions=(1, 6), request=DeleteTopicsRequest, handle=handle)
