"""Configurations of a node that concern groups of consumers and their offsets."""

from __future__ import annotations

import dataclasses

from mesh.model.setting import Kind, setting


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """The part of a node's configuration that group coordinators read."""

    # Classic groups.
    group_initial_delay_ms: int = setting(
        "group.initial.rebalance.delay.ms",
        Kind.INT,
        "3000",
        "Milliseconds that an empty classic group waits for more members before it begins; 0 is "
        "right where a group is started by hand.",
        dynamic=False,
    )
    group_session_ms_min: int = setting(
        "group.min.session.timeout.ms",
        Kind.INT,
        "6000",
        "Smallest session time-out, in milliseconds, that a classic member may ask for.",
        dynamic=False,
    )
    group_session_ms_max: int = setting(
        "group.max.session.timeout.ms",
        Kind.INT,
        "1800000",
        "Largest session time-out, in milliseconds, that a classic member may ask for.",
        dynamic=False,
    )
    group_size_max: int = setting(
        "group.max.size",
        Kind.INT,
        str(2**31 - 1),
        "Members that a classic group may have.",
        at_least=1,
        dynamic=False,
    )

    # Groups by KIP-848.
    consumer_heartbeat_ms: int = setting(
        "group.consumer.heartbeat.interval.ms",
        Kind.INT,
        "5000",
        "Milliseconds between two heartbeats of a member, unless its group has its own.",
        at_least=1,
        dynamic=False,
    )
    consumer_heartbeat_ms_min: int = setting(
        "group.consumer.min.heartbeat.interval.ms",
        Kind.INT,
        "5000",
        "Smallest heartbeat interval, in milliseconds, that a group may have.",
        at_least=1,
        dynamic=False,
    )
    consumer_heartbeat_ms_max: int = setting(
        "group.consumer.max.heartbeat.interval.ms",
        Kind.INT,
        "15000",
        "Largest heartbeat interval, in milliseconds, that a group may have.",
        at_least=1,
        dynamic=False,
    )
    consumer_session_ms: int = setting(
        "group.consumer.session.timeout.ms",
        Kind.INT,
        "45000",
        "Milliseconds of silence after which a member is out, unless its group has its own.",
        at_least=1,
        dynamic=False,
    )
    consumer_session_ms_min: int = setting(
        "group.consumer.min.session.timeout.ms",
        Kind.INT,
        "45000",
        "Smallest session time-out, in milliseconds, that a group may have.",
        at_least=1,
        dynamic=False,
    )
    consumer_session_ms_max: int = setting(
        "group.consumer.max.session.timeout.ms",
        Kind.INT,
        "60000",
        "Largest session time-out, in milliseconds, that a group may have.",
        at_least=1,
        dynamic=False,
    )
    consumer_size_max: int = setting(
        "group.consumer.max.size",
        Kind.INT,
        str(2**31 - 1),
        "Members that a group may have.",
        at_least=1,
        dynamic=False,
    )
    consumer_assignors: tuple[str, ...] = setting(
        "group.consumer.assignors",
        Kind.LIST,
        "uniform,range",
        "Ways in which the node assigns partitions to members; the first one is the default.",
        dynamic=False,
    )
    consumer_assignment_ms: int = setting(
        "group.consumer.assignment.interval.ms",
        Kind.INT,
        "1000",
        "Milliseconds between two computations of who is to read what; members that come and go "
        "meanwhile wait for the next one.",
        at_least=0,
    )
    consumer_migration: str = setting(
        "group.consumer.migration.policy",
        Kind.STRING,
        "bidirectional",
        "Whether classic groups become new ones, and back, as members change.",
        choices=("disabled", "downgrade", "upgrade", "bidirectional"),
        dynamic=False,
    )

    # Offsets, and the topic that keeps them.
    offset_metadata_bytes_max: int = setting(
        "offset.metadata.max.bytes",
        Kind.INT,
        "4096",
        "Length of the text that may be stored with an offset.",
        dynamic=False,
    )
    offsets_commit_ms_max: int = setting(
        "offsets.commit.timeout.ms",
        Kind.INT,
        "5000",
        "Milliseconds that a coordinator's record may take to be committed before whoever waits "
        "for it is told to try again.",
        at_least=1,
        dynamic=False,
    )
    offsets_retention_minutes: int = setting(
        "offsets.retention.minutes",
        Kind.INT,
        "10080",
        "Minutes for which offsets are kept once their group is empty, or since the last commit "
        "where the group never had members.",
        at_least=1,
        dynamic=False,
    )
    offsets_retention_check_ms: int = setting(
        "offsets.retention.check.interval.ms",
        Kind.LONG,
        "600000",
        "Milliseconds between two looks for offsets that are too old.",
        at_least=1,
        dynamic=False,
    )
    offsets_partitions: int = setting(
        "offsets.topic.num.partitions",
        Kind.INT,
        "50",
        "Partitions of the offsets' topic when it is made. Never changed afterwards.",
        at_least=1,
        dynamic=False,
    )
    offsets_replication_factor: int = setting(
        "offsets.topic.replication.factor",
        Kind.SHORT,
        "3",
        "Replicas of the offsets' topic: as many as there are nodes, odd, up to this.",
        at_least=1,
        dynamic=False,
        unused="There is one node so far, so every topic has one replica.",
    )
    offsets_segment_bytes: int = setting(
        "offsets.topic.segment.bytes",
        Kind.INT,
        "104857600",
        "Bytes of a segment of the offsets' topic.",
        at_least=1,
        dynamic=False,
    )
