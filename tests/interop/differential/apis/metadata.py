"""Metadata: all its forms, and topics that come into being by being asked for."""

from __future__ import annotations

from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from tests.interop.differential.ask import UNKNOWN_ID, topic_id
from tests.interop.differential.cases import case, differs, surprise
from tests.interop.differential.talk import Talk


def wanted(*names: str, create: bool = False) -> MetadataRequest:
    """Return a Metadata request for these topics."""
    return MetadataRequest(
        topics=[MetadataRequestTopic(name=name) for name in names],
        allow_auto_topic_creation=create,
    )


@case(MetadataRequest)
def metadata_named(talk: Talk) -> None:
    """Topics by name, one of them twice"""
    one, two = talk.topic("one", partitions=3), talk.topic("two")
    talk.ask(wanted(one, two))
    talk.ask(wanted(one, one))


@case(MetadataRequest, versions=(1, 13))
def metadata_none(talk: Talk) -> None:
    """An empty list asks for brokers only"""
    talk.ask(wanted())


@case(MetadataRequest)
def metadata_all(talk: Talk) -> None:
    """Every topic: ours is among them, as it is when named"""
    talk.topic(partitions=2)
    everything = MetadataRequest(
        topics=[] if talk.version == 0 else None, allow_auto_topic_creation=False
    )
    answer = talk.connection.ask(everything, talk.version)
    assert isinstance(answer, MetadataResponse)
    answer.topics = [topic for topic in answer.topics if topic.name in talk.names]
    talk.hear(answer)


@case(MetadataRequest, versions=(4, 13))
def metadata_missing(talk: Talk) -> None:
    """A topic that does not exist and shall not be created"""
    talk.ask(wanted(talk.name()))
    talk.ask(wanted(talk.name()), label="again")


@case(MetadataRequest)
def metadata_creates(talk: Talk) -> None:
    """A topic that does not exist is created with one partition"""
    name = talk.name("created")
    talk.ask(wanted(name, create=True), label="first")
    talk.wait_for_leaders(name, 1)
    talk.ask(wanted(name, create=True), label="then")


@case(MetadataRequest)
def metadata_invalid_names(talk: Talk) -> None:
    """Names that no topic may have"""
    for name in ("", ".", "..", "a b", "a/b", "x" * 250, "é"):
        talk.ask(wanted(name, create=True), label=name[:10])


@case(MetadataRequest)
def metadata_colliding(talk: Talk) -> None:
    """A name that differs from an existing one in a dot for an underscore"""
    talk.topic("a.b")
    talk.ask(wanted(talk.name("a_b"), create=True))


@case(MetadataRequest, versions=(4, 13))
def metadata_internal(talk: Talk) -> None:
    """A name that Kafka keeps for itself and has not made yet"""
    talk.ask(wanted("__transaction_state"))


@case(MetadataRequest, versions=(8, 13))
def metadata_operations(talk: Talk) -> None:
    """What this client may do with cluster and topic"""
    request = wanted(talk.topic())
    request.include_topic_authorized_operations = True
    if talk.version <= 10:
        request.include_cluster_authorized_operations = True
    talk.ask(request)


@case(MetadataRequest, versions=(10, 13))
def metadata_by_id(talk: Talk) -> None:
    """Topics by id: a known and an unknown one, an id with a name, and neither"""
    topic = talk.topic()
    known = topic_id(talk, topic)
    for label, name, wanted_id in (
        ("known", None, known),
        ("unknown", None, UNKNOWN_ID),
        ("name and id", topic, known),
        ("name and unknown id", topic, UNKNOWN_ID),
        ("name and id of none", talk.name(), known),
        ("neither", None, bytes(16)),
    ):
        asked = MetadataRequestTopic(topic_id=wanted_id, name=name)
        if talk.version < 12 and name is None:
            continue  # Null names came with version 12.
        request = MetadataRequest(topics=[asked], allow_auto_topic_creation=False)
        talk.ask(request, label=label)


for path, kafka, ours, first in (
    ("error_code", 3, 0, 0),
    ("partitions/0", "absent", "present", 0),
    ("topic_id", "none", "topic_id 1", 10),
):
    differs(
        MetadataRequest,
        f"topics/created/{path}",
        kafka=kafka,
        ours=ours,
        reason="A topic that is created by being asked for is in the very answer, served already",
        cases="metadata-creates",
        versions=(first, 13),
    )
differs(
    MetadataRequest,
    "topics/a_b/error_code",
    kafka=3,
    ours=17,
    reason="We say that the name cannot be had",
    cases="metadata-colliding",
)
for path, first in (("topics/(empty)/error_code", 12), ("error_code", 13)):
    differs(
        MetadataRequest,
        path,
        kafka=-1,
        ours=42,
        reason="INVALID_REQUEST, instead of an unknown server error",
        cases="metadata-by-id",
        versions=(first, 13),
    )

surprise(
    MetadataRequest,
    """When a request names both a topic's name and an id, the id wins; no error if they
    contradict.""",
)
surprise(
    MetadataRequest,
    """A topic entry with neither name nor id fails the whole request with -1, and the answer
    names no brokers.""",
)
surprise(
    MetadataRequest,
    """A name that collides with an existing one is not created and is
    UNKNOWN_TOPIC_OR_PARTITION (3), not INVALID_TOPIC_EXCEPTION.""",
)
surprise(
    MetadataRequest,
    """Auto-creation answers UNKNOWN_TOPIC_OR_PARTITION (3) in that round, not
    LEADER_NOT_AVAILABLE.""",
)
