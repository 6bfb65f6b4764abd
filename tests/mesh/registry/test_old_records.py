"""Records of format 1, which named no directories, as the release before this one wrote them."""

from __future__ import annotations

import random

import pytest

from mesh.model.types import NodeId, ReplicaId
from mesh.registry import RecordPair, Registry, shard_of
from mesh.registry.records import (
    AddPartitions,
    AlterBrokerConfig,
    AlterTopicConfig,
    ClaimNodeId,
    ClaimProducerIds,
    CreateTopic,
    DeleteTopic,
    Record,
    decode_untrusted,
)
from mesh.registry.topic import Placement

TOPIC_ID = bytes(range(16))
CREATE = RecordPair(
    bytes.fromhex("826c6372656174652d746f706963666f7264657273"),
    bytes.fromhex(
        "a666666f726d617401646b696e646c6372656174652d746f706963646e616d65666f726465727368746f7069"
        "635f696450000102030405060708090a0b0c0d0e0f687265706c69636173828101810167636f6e66696773a1"
        "6c726574656e74696f6e2e6d736135"
    ),
)
"""`orders` with two partitions at node 1 and retention.ms=5."""
ADD = RecordPair(
    bytes.fromhex("826e6164642d706172746974696f6e73666f7264657273"),
    bytes.fromhex(
        "a666666f726d617401646b696e646e6164642d706172746974696f6e73646e616d65666f726465727368746f"
        "7069635f696450000102030405060708090a0b0c0d0e0f6b66697273745f696e64657802687265706c696361"
        "73818101"
    ),
)
"""A third partition."""
CLAIM = RecordPair(
    bytes.fromhex("826d636c61696d2d6e6f64652d69646164"),
    bytes.fromhex(
        "a466666f726d617401646b696e646d636c61696d2d6e6f64652d69646c6469726563746f72795f6964616467"
        "6e6f64655f696401"
    ),
)
"""Node id 1 for the directory `d`."""
OTHERS: list[tuple[str, str, Record]] = [
    (
        "8272616c7465722d746f7069632d636f6e666967666f7264657273",
        (
            "a566666f726d617401646b696e6472616c7465722d746f7069632d636f6e666967646e616d65666f"
            "72646572"
            "7368746f7069635f696450000102030405060708090a0b0c0d0e0f676368616e676573a26a736567"
            "6d656e74"
            "2e6d7361376c726574656e74696f6e2e6d73f6"
        ),
        AlterTopicConfig("orders", TOPIC_ID, {"segment.ms": "7", "retention.ms": None}),
    ),
    (
        "826c64656c6574652d746f706963666f7264657273",
        (
            "a466666f726d617401646b696e646c64656c6574652d746f706963646e616d65666f726465727368"
            "746f7069"
            "635f696450000102030405060708090a0b0c0d0e0f"
        ),
        DeleteTopic("orders", TOPIC_ID),
    ),
    (
        "8273616c7465722d62726f6b65722d636f6e66696760",
        (
            "a466666f726d617401646b696e6473616c7465722d62726f6b65722d636f6e666967646e6f646560"
            "67636861"
            "6e676573a1716d6573736167652e6d61782e62797465736137"
        ),
        AlterBrokerConfig("", {"message.max.bytes": "7"}),
    ),
    (
        "8272636c61696d2d70726f64756365722d6964736131",
        (
            "a466666f726d617401646b696e6472636c61696d2d70726f64756365722d696473676e6f64655f69"
            "64016573"
            "7461727405"
        ),
        ClaimProducerIds(1, 5),
    ),
]


def test_bytes_of_the_release_before_are_still_records() -> None:
    """Each kind that format 1 had is read as it was meant; what it did not say is left open."""
    without = Placement(((1,), (1,)), 1, {})
    made = CreateTopic("orders", TOPIC_ID, without, 1, {"retention.ms": "5"})
    assert decode_untrusted(0, 0, CREATE) == made
    added = AddPartitions("orders", TOPIC_ID, 2, Placement(((1,),), 1, {}))
    assert decode_untrusted(0, 0, ADD) == added
    assert decode_untrusted(0, 0, CLAIM) == ClaimNodeId("d", 1)
    for key, value, record in OTHERS:
        assert decode_untrusted(0, 0, RecordPair(*map(bytes.fromhex, (key, value)))) == record


@pytest.mark.parametrize(("own", "claimed"), [(1, True), (1, False), (2, True)])
def test_an_old_topic_belongs_to_the_one_node_that_its_mesh_had(own: NodeId, claimed: bool) -> None:
    """That node knows itself, be its claim lost; every other one knows it by its claim."""
    registry = Registry(ReplicaId(own, "d" if own == 1 else "other"), random.Random(0))
    if claimed:
        registry.committed(0, 0, CLAIM)
    for offset, pair in enumerate((CREATE, ADD)):
        registry.committed(shard_of("orders"), offset, pair)
    topic = registry.topics["orders"]
    assert topic.partition_count == 3
    assert [topic.voters(index) for index in range(3)] == [(ReplicaId(1, "d"),)] * 3
    assert topic == registry.tentative.topics["orders"]


def test_an_old_topic_of_a_node_that_nobody_knows_is_nobodys() -> None:
    """Without the claim another node takes no directory for it, least of all its own."""
    registry = Registry(ReplicaId(2, "other"), random.Random(0))
    registry.committed(shard_of("orders"), 0, CREATE)
    assert registry.topics["orders"].voters(0) == (ReplicaId(1, ""),)
