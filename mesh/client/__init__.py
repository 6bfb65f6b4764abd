"""Our own Kafka client: pure machines and their trio drivers.

async with connect("127.0.0.1:9092") as client:
    async with producer(client) as out:
        receipt = await out.send("greetings", b"hello", key=b"world")
        print(await receipt.wait())
    async with reader(client, [Assignment(TopicPartition("greetings", 0))]) as records:
        async for partition, record in records: ...
"""

from mesh.client.admin import (
    ConfigEntry,
    OffsetAndTime,
    alter_topic_configs,
    create_partitions,
    create_topic,
    delete_topic,
    describe_topic_configs,
    list_offsets,
)
from mesh.client.ages import first_timestamps
from mesh.client.assignment import EARLIEST, LATEST, Assignment, AtOffset, AtTime, Chunk, Place
from mesh.client.client import Client, connect
from mesh.client.cluster import Cluster, PartitionState, TopicState
from mesh.client.groups import (
    CommittedOffset,
    GroupError,
    GroupListing,
    GroupNotEmptyError,
    GroupNotFoundError,
    GroupState,
    GroupsUnservedError,
    MemberNotFoundError,
    MemberState,
    commit_offsets,
    delete_group,
    delete_offsets,
    describe_group,
    fetch_offsets,
    find_coordinator,
    list_groups,
    remove_members,
)
from mesh.client.member import GroupReader, GroupSettings, group_reader
from mesh.client.producer import Delivered, Producer, Receipt, producer
from mesh.client.reader import Reader, reader
from mesh.client.reading import Skipped
from mesh.client.settings import (
    Address,
    BufferTooSmallError,
    CannotConnectError,
    ClientError,
    ClientSettings,
    ConnectionLostError,
    DeliveryError,
    ProducerSettings,
    ReaderSettings,
    UnknownTopicError,
    UnsupportedApiError,
    parse_bootstrap,
)
from mesh.model.types import TopicPartition
from storage.compression import Codec
from storage.records import Record

__all__ = [
    "EARLIEST",
    "LATEST",
    "Address",
    "Assignment",
    "AtOffset",
    "AtTime",
    "BufferTooSmallError",
    "CannotConnectError",
    "Chunk",
    "Client",
    "ClientError",
    "ClientSettings",
    "Cluster",
    "Codec",
    "CommittedOffset",
    "ConfigEntry",
    "ConnectionLostError",
    "Delivered",
    "DeliveryError",
    "GroupError",
    "GroupListing",
    "GroupNotEmptyError",
    "GroupNotFoundError",
    "GroupReader",
    "GroupSettings",
    "GroupState",
    "GroupsUnservedError",
    "MemberNotFoundError",
    "MemberState",
    "OffsetAndTime",
    "PartitionState",
    "Place",
    "Producer",
    "ProducerSettings",
    "Reader",
    "ReaderSettings",
    "Receipt",
    "Record",
    "Skipped",
    "TopicPartition",
    "TopicState",
    "UnknownTopicError",
    "UnsupportedApiError",
    "alter_topic_configs",
    "commit_offsets",
    "connect",
    "create_partitions",
    "create_topic",
    "delete_group",
    "delete_offsets",
    "delete_topic",
    "describe_group",
    "describe_topic_configs",
    "fetch_offsets",
    "find_coordinator",
    "first_timestamps",
    "group_reader",
    "list_groups",
    "list_offsets",
    "parse_bootstrap",
    "producer",
    "reader",
    "remove_members",
]
