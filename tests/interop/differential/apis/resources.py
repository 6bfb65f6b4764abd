"""ListConfigResources and UnregisterBroker."""

from __future__ import annotations

from mesh.wire.schemas.list_config_resources import (
    ConfigResource,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)
from mesh.wire.schemas.unregister_broker import UnregisterBrokerRequest
from tests.interop.differential.cases import case, surprise
from tests.interop.differential.talk import Talk
from tests.interop.node import OTHER_NODE_IDS

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32


def hear_resources(talk: Talk, *kinds: int, label: str) -> None:
    """Ask for resources of these types, and record the answer without others' topics and nodes."""
    answer = talk.connection.ask(
        ListConfigResourcesRequest(resource_types=list(kinds)), talk.version
    )
    if isinstance(answer, ListConfigResourcesResponse):
        answer.config_resources = [
            found
            for found in answer.config_resources
            if (found.resource_type != TOPIC or found.resource_name in talk.names)
            and (found.resource_type not in (BROKER, BROKER_LOGGER) or is_asked(found))
        ]
        answer.config_resources.sort(key=lambda one: (one.resource_type, one.resource_name))
    talk.hear(answer, label=label)


def is_asked(found: ConfigResource) -> bool:
    """Whether a node is no other of our mesh than the one that is asked."""
    return found.resource_name not in map(str, OTHER_NODE_IDS)


@case(ListConfigResourcesRequest)
def resources_of_client_metrics(talk: Talk) -> None:
    """What version 0 is for; nobody has subscribed to anything"""
    hear_resources(talk, *([CLIENT_METRICS] if talk.version > 0 else []), label="client metrics")


@case(ListConfigResourcesRequest, versions=(1, 1))
def resources_by_type(talk: Talk) -> None:
    """One type, several, all of them by an empty list, one twice"""
    talk.topic("one")
    talk.topic("two", configs={"retention.ms": "5000000"})
    talk.settle()
    for kinds in (
        (TOPIC,),
        (BROKER,),
        (BROKER_LOGGER,),
        (GROUP,),
        (TOPIC, BROKER),
        (BROKER, BROKER),
        (),
    ):
        hear_resources(talk, *kinds, label=f"types {kinds}")


@case(ListConfigResourcesRequest, versions=(1, 1))
def resources_of_unknown_type(talk: Talk) -> None:
    """Types that do not exist, alone and beside one that does"""
    for kinds in ((0,), (1,), (77,), (-1,), (64,), (BROKER, 77)):
        hear_resources(talk, *kinds, label=f"types {kinds}")


@case(UnregisterBrokerRequest)
def unregister_unknown(talk: Talk) -> None:
    """Brokers that never were"""
    for number in (99, 0, -1, 2**31 - 1):
        talk.ask(UnregisterBrokerRequest(broker_id=number), label=f"broker {number}")


surprise(
    ListConfigResourcesRequest,
    """Groups are listed only if they have configurations; every broker is listed, and once more
    for its loggers.""",
)
surprise(
    ListConfigResourcesRequest,
    """One type that does not exist fails the whole request with UNSUPPORTED_VERSION (35).""",
)
surprise(
    UnregisterBrokerRequest,
    """A broker that lives is unregistered like any other: it vanishes from Metadata at once, and
    its partitions have no leader. (Not among the cases: it would end them. We refuse.)""",
)
