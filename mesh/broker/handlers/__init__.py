"""All handlers in one table: what is not here is neither served nor advertised."""

from typing import Any

from mesh.broker.api import CloseConnectionError, Handler, Request
from mesh.broker.handlers import (
    alter_configs,
    alter_replica_log_dirs,
    api_versions,
    create_partitions,
    create_topics,
    delete_topics,
    describe_cluster,
    describe_configs,
    describe_log_dirs,
    describe_producers,
    describe_topic_partitions,
    fetch,
    incremental_alter_configs,
    init_producer_id,
    list_config_resources,
    list_offsets,
    metadata,
    offset_for_leader_epoch,
    produce,
    unregister_broker,
)
from mesh.wire import Message

_MODULES = (
    produce,
    fetch,
    list_offsets,
    metadata,
    api_versions,
    create_topics,
    delete_topics,
    init_producer_id,
    offset_for_leader_epoch,
    describe_configs,
    alter_configs,
    alter_replica_log_dirs,
    describe_log_dirs,
    create_partitions,
    incremental_alter_configs,
    describe_cluster,
    describe_producers,
    unregister_broker,
    list_config_resources,
    describe_topic_partitions,
)
HANDLERS: dict[int, Handler[Any]] = {module.HANDLER.key: module.HANDLER for module in _MODULES}
api_versions.advertise(HANDLERS.values())


def refuse_version(request: Request) -> Message:
    """Kafka's answer to an API or a version that this node does not serve.

    Raises:
        CloseConnectionError: for everything but ApiVersions; there is no error frame (G4).
    """
    if request.api_key == api_versions.HANDLER.key:
        return api_versions.unsupported()
    raise CloseConnectionError(
        f"API key {request.api_key} version {request.api_version} is not served"
    )
