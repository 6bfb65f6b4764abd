"""Records of `__consumer_offsets`: Kafka's own keys and values, so that its tools read them.

A key begins with the number of its kind (KINDS), a value with the number of its version. The
value of a kind that has several versions is written in the newest one that Kafka 4.3 writes.
"""

from __future__ import annotations

from typing import Annotated, Final

from mesh.wire.message import Message, Struct
from mesh.wire.types import NEVER, NO_UUID, Int8, Int32, Int64, Uuid, since, tag, until


class OffsetCommitKey(Message, versions=(0, 1), flexible_from=NEVER):
    """Kinds 0 and 1; they differ in nothing."""

    group: str = ""
    topic: str = ""
    partition: Int32 = 0


class OffsetCommitValue(Message, versions=(0, 4), flexible_from=4):
    offset: Int64 = 0
    leader_epoch: Annotated[Int32, since(3)] = -1
    metadata: str = ""
    commit_timestamp: Int64 = 0
    expire_timestamp: Annotated[Int64, since(1), until(1)] = -1
    topic_id: Annotated[Uuid, since(4), tag(0)] = NO_UUID


class GroupMetadataKey(Message, versions=(2, 2), flexible_from=NEVER):
    group: str = ""


class GroupMetadataValue(Message, versions=(0, 4), flexible_from=4):
    protocol_type: str = ""
    generation: Int32 = 0
    protocol: str | None = None
    leader: str | None = None
    current_state_timestamp: Annotated[Int64, since(2)] = -1
    members: list[MemberMetadata] = []


class MemberMetadata(Struct):
    member_id: str = ""
    group_instance_id: Annotated[str | None, since(3)] = None
    client_id: str = ""
    client_host: str = ""
    rebalance_timeout: Annotated[Int32, since(1)] = -1
    session_timeout: Int32 = 0
    subscription: bytes = b""
    assignment: bytes = b""


class ConsumerGroupMetadataKey(Message, versions=(3, 3), flexible_from=NEVER):
    group_id: str = ""


class ConsumerGroupMetadataValue(Message, versions=(0, 0), flexible_from=0):
    epoch: Int32 = 0
    metadata_hash: Annotated[Int64, tag(0)] = 0


class ConsumerGroupMemberMetadataKey(Message, versions=(5, 5), flexible_from=NEVER):
    group_id: str = ""
    member_id: str = ""


class ConsumerGroupMemberMetadataValue(Message, versions=(0, 0), flexible_from=0):
    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    subscribed_topic_names: list[str] = []
    subscribed_topic_regex: str | None = None
    rebalance_timeout_ms: Int32 = -1
    server_assignor: str | None = None
    classic_member_metadata: Annotated[ClassicMemberMetadata | None, tag(0, tells_null=True)] = None


class ClassicMemberMetadata(Struct):
    session_timeout_ms: Int32 = 0
    supported_protocols: list[ClassicProtocol] = []


class ClassicProtocol(Struct):
    name: str = ""
    metadata: bytes = b""


class ConsumerGroupTargetAssignmentMetadataKey(Message, versions=(6, 6), flexible_from=NEVER):
    group_id: str = ""


class ConsumerGroupTargetAssignmentMetadataValue(Message, versions=(0, 0), flexible_from=0):
    assignment_epoch: Int32 = 0
    assignment_timestamp: Annotated[Int64, tag(0)] = 0


class ConsumerGroupTargetAssignmentMemberKey(Message, versions=(7, 7), flexible_from=NEVER):
    group_id: str = ""
    member_id: str = ""


class ConsumerGroupTargetAssignmentMemberValue(Message, versions=(0, 0), flexible_from=0):
    topic_partitions: list[TargetTopicPartitions] = []


class TargetTopicPartitions(Struct):
    topic_id: Uuid = NO_UUID
    partitions: list[Int32] = []


class ConsumerGroupCurrentMemberAssignmentKey(Message, versions=(8, 8), flexible_from=NEVER):
    group_id: str = ""
    member_id: str = ""


class ConsumerGroupCurrentMemberAssignmentValue(Message, versions=(0, 0), flexible_from=0):
    member_epoch: Int32 = 0
    previous_member_epoch: Int32 = 0
    state: Int8 = 0
    assigned_partitions: list[CurrentTopicPartitions] = []
    partitions_pending_revocation: list[CurrentTopicPartitions] = []


class CurrentTopicPartitions(Struct):
    topic_id: Uuid = NO_UUID
    partitions: list[Int32] = []
    assignment_epochs: Annotated[list[Int32] | None, tag(0)] = None


class ConsumerGroupRegularExpressionKey(Message, versions=(16, 16), flexible_from=NEVER):
    group_id: str = ""
    regular_expression: str = ""


class ConsumerGroupRegularExpressionValue(Message, versions=(0, 0), flexible_from=0):
    topics: list[str] = []
    version: Int64 = 0
    timestamp: Int64 = 0


KINDS: Final[dict[int, tuple[type[Message], type[Message], int]]] = {
    0: (OffsetCommitKey, OffsetCommitValue, 1),
    1: (OffsetCommitKey, OffsetCommitValue, 4),
    2: (GroupMetadataKey, GroupMetadataValue, 3),
    3: (ConsumerGroupMetadataKey, ConsumerGroupMetadataValue, 0),
    5: (ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue, 0),
    6: (ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue, 0),
    7: (ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue, 0),
    8: (ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue, 0),
    16: (ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue, 0),
}
"""Key, value and the version that is written, by the number that a key begins with."""
