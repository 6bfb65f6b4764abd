"""All handlers in one table: what is not here is neither served nor advertised."""

from typing import Any

from mesh.broker.api import CloseConnectionError, Handler, Request
from mesh.broker.handed_on import HANDED_ON
from mesh.broker.handlers import (
    add_raft_voter,
    alter_configs,
    alter_partition_reassignments,
    alter_replica_log_dirs,
    api_versions,
    consumer_group_describe,
    consumer_group_heartbeat,
    create_partitions,
    create_topics,
    delete_groups,
    delete_records,
    delete_topics,
    describe_cluster,
    describe_configs,
    describe_groups,
    describe_log_dirs,
    describe_producers,
    describe_quorum,
    describe_topic_partitions,
    elect_leaders,
    fetch,
    find_coordinator,
    heartbeat,
    incremental_alter_configs,
    init_producer_id,
    join_group,
    leave_group,
    list_config_resources,
    list_groups,
    list_offsets,
    list_partition_reassignments,
    metadata,
    offset_commit,
    offset_delete,
    offset_fetch,
    offset_for_leader_epoch,
    produce,
    remove_raft_voter,
    sync_group,
    unregister_broker,
    update_features,
)
from mesh.wire import Message

_MODULES = (
    produce,
    fetch,
    list_offsets,
    metadata,
    offset_commit,
    offset_fetch,
    find_coordinator,
    join_group,
    heartbeat,
    leave_group,
    sync_group,
    describe_groups,
    list_groups,
    api_versions,
    create_topics,
    delete_topics,
    delete_records,
    init_producer_id,
    offset_for_leader_epoch,
    describe_configs,
    alter_configs,
    alter_replica_log_dirs,
    describe_log_dirs,
    create_partitions,
    elect_leaders,
    delete_groups,
    incremental_alter_configs,
    alter_partition_reassignments,
    list_partition_reassignments,
    offset_delete,
    describe_quorum,
    update_features,
    describe_cluster,
    describe_producers,
    unregister_broker,
    consumer_group_heartbeat,
    consumer_group_describe,
    list_config_resources,
    describe_topic_partitions,
    add_raft_voter,
    remove_raft_voter,
)
HANDLERS: dict[int, Handler[Any]] = {module.HANDLER.key: module.HANDLER for module in _MODULES}
api_versions.advertise(HANDLERS.values())
RELAYED = {key: (relayed, HANDLERS[key]) for key, relayed in HANDED_ON.items()}
"""Those that other nodes may have to answer."""


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
