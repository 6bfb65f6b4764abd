"""The story of `steps.py` with aiokafka's AIOKafkaAdminClient."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from aiokafka.structs import TopicPartition

from tests.interop.admins.steps import CONFIGS, LOOKED_AT, Said

UNSUPPORTED_VERSION = 35
FROM_TOPIC = 1
"""DescribeConfigs' source of a value that is the topic's own."""


async def _code(call: Awaitable[object]) -> int:
    """Return the error that a call ends with, 0 for none."""
    try:
        await call
    except IncompatibleBrokerVersion:
        return UNSUPPORTED_VERSION  # It looks into ApiVersions and does not even ask.
    except KafkaError as error:
        return int(error.errno)
    return 0


async def _configs(admin: Any, topic: str) -> object:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, dict.fromkeys(LOOKED_AT, ""))
    (answer,) = await admin.describe_configs([resource])
    *_, entries = answer.resources[0]
    return {name: [value, source == FROM_TOPIC] for name, value, _, source, *_ in entries}


async def _replace(admin: Any, topic: str, value: str) -> int:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": value})
    (answer,) = await admin.alter_configs([resource])
    return int(answer.resources[0][0])


async def _topics(admin: Any, topic: str) -> Said:
    wanted = [NewTopic(topic, 2, 1, topic_configs=CONFIGS)]
    said: Said = {
        "create": (await admin.create_topics(wanted)).topic_errors[0][1],
        "create_again": (await admin.create_topics(wanted)).topic_errors[0][1],
        "describe_configs": await _configs(admin, topic),
        "replace": await _replace(admin, topic, "6000000"),
        "replace_after": await _configs(admin, topic),
        "replace_wrong": await _replace(admin, topic, "soon"),
        "widen": await _code(admin.create_partitions({topic: NewPartitions(3)})),
        "widen_back": await _code(admin.create_partitions({topic: NewPartitions(1)})),
    }
    (described,) = await admin.describe_topics([topic])
    return {**said, "partitions": len(described["partitions"])}


async def _administer(bootstrap: str, topic: str, filled: str) -> Said:
    admin, place = AIOKafkaAdminClient(bootstrap_servers=bootstrap), TopicPartition(filled, 0)
    await admin.start()
    try:
        said = await _topics(admin, topic)
        for step, offset in (("delete_records", 3), ("delete_records_beyond", 9)):
            said[step] = await _code(admin.delete_records({place: RecordsToDelete(offset)}))
        cluster = await admin.describe_cluster()
        deleted = await admin.delete_topics([topic])
        return {
            **said,
            "nodes": [node["node_id"] for node in cluster["brokers"]],
            "controller": cluster["controller_id"],
            "delete": deleted.topic_error_codes[0][1],
            "gone": topic not in await admin.list_topics(),
        }
    finally:
        await admin.close()


def administer(bootstrap: str, topic: str, filled: str) -> Said:
    """Run the story, as far as the library can."""
    return asyncio.run(_administer(bootstrap, topic, filled))
