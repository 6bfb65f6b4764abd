"""A partition as this node holds it: its log, its group, and who waits for what the group says.

The group (mesh/replication) decides who leads and what is committed; `groups.py` runs it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mesh.broker.replica_log import LogView
from mesh.model.config import BrokerConfig, TopicConfig
from mesh.model.names import INTERNAL_TOPICS
from mesh.model.types import NodeId, TopicId, TopicPartition
from storage.config import LogConfig

if TYPE_CHECKING:
    from mesh.broker.purgatory import Parked
    from mesh.replication import Group
    from mesh.replication.events import Effect
    from storage.log import Log
    from storage.types import LeaderEpoch, Offset

NOBODY: NodeId = -1
"""As a leader: nobody is known to be one."""

NO_LIMIT = 2**63 - 1
"""Long.MAX_VALUE, which is how Kafka writes that a time is not limited."""


def log_config(config: TopicConfig, broker: BrokerConfig) -> LogConfig:
    """Return what the log itself needs of a topic's settings."""
    compact = "compact" in config.cleanup_policy
    return LogConfig(
        segment_bytes=config.segment_bytes,
        # As Kafka rolls: otherwise what lies in the active segment would never be due.
        segment_ms=min(config.segment_ms, config.compaction_lag_ms_max)
        if compact
        else config.segment_ms,
        retention_ms=config.retention_ms if "delete" in config.cleanup_policy else -1,
        retention_bytes=config.retention_bytes if "delete" in config.cleanup_policy else -1,
        index_interval_bytes=config.index_interval_bytes,
        producer_expiration_ms=broker.producer_id_expiration_ms,
        compact=compact,
        dirty_ratio_min=config.dirty_ratio_min,
        compaction_lag_ms_min=config.compaction_lag_ms_min,
        compaction_lag_ms_max=config.compaction_lag_ms_max,
        tombstone_retention_ms=config.delete_retention_ms,
    )


class Partition:
    """One partition of one topic id on this node."""

    __slots__ = (
        "batches_in",
        "bytes_in",
        "bytes_out",
        "config",
        "epoch_start",
        "fetches",
        "gone",
        "group",
        "high_watermark",
        "in_round",
        "in_sync",
        "index",
        "is_internal",
        "leader_epoch",
        "leader_id",
        "leads",
        "log",
        "log_append_time",
        "needs_records",
        "parked",
        "records_in",
        "replicas",
        "takes_writes",
        "topic",
        "topic_id",
        "view",
        "waiting",
    )

    group: Group
    """Set by `Groups.add`, before anything else happens to the partition."""
    config: TopicConfig
    log_append_time: bool
    needs_records: bool
    """Whether a setting of the topic asks for more of a batch than its header."""

    def __init__(
        self,
        topic: str,
        topic_id: TopicId,
        index: int,
        log: Log,
        config: TopicConfig,
        node_id: NodeId,
    ) -> None:
        """A replica on node `node_id` that nobody leads yet, with nothing known to be committed."""
        self.topic = topic
        self.topic_id = topic_id
        self.index = index
        self.is_internal = topic in INTERNAL_TOPICS
        """Whether what stands there is for the node itself, and not for clients, to write."""
        self.log = log
        self.view = LogView(log)
        self.leads = False
        """Whether this node leads it, and serves."""
        self.takes_writes = False
        """Whether clients' batches may be appended now; not so while leadership is handed over."""
        self.leader_id = NOBODY
        self.leader_epoch: LeaderEpoch = -1
        self.epoch_start: Offset = 0
        """Where the epoch began that this node leads; all below was inherited."""
        self.replicas: list[NodeId] = [node_id]
        self.in_sync: list[NodeId] = []
        self.high_watermark: Offset = log.log_start_offset
        self.waiting: deque[Effect] = deque()
        """Effects of the group that keep their order, from the one that waits for the disk on."""
        self.in_round = False
        """Whether the first of them is on its way to the disk."""
        self.parked: dict[Parked, None] = {}
        """Waiters to poll when the high watermark moves."""
        self.gone = False
        """Whether the topic was deleted; then nothing more is committed."""
        # Traffic since the start, for statistics; nothing is decided by it.
        self.bytes_in = self.batches_in = self.records_in = 0
        self.bytes_out = self.fetches = 0
        self._take(config)

    def configure(self, config: TopicConfig, broker: BrokerConfig) -> None:
        """Put changed settings in force, from the next request on."""
        self.log.config = log_config(config, broker)
        self._take(config)

    def _take(self, config: TopicConfig) -> None:
        self.config = config
        self.log_append_time = config.timestamp_type == "LogAppendTime"
        self.needs_records = (
            self.log_append_time
            or "compact" in config.cleanup_policy
            or config.timestamp_before_ms_max < NO_LIMIT
            or config.compression_type != "producer"
        )

    @property
    def name(self) -> TopicPartition:
        """Topic and index, as clients say it."""
        return TopicPartition(self.topic, self.index)

    @property
    def promised_start(self) -> Offset:
        """Where the log begins, as the group has it."""
        return self.group.holding.promise.log_start_offset

    @property
    def last_stable_offset(self) -> Offset:
        """First offset that a transaction has not decided yet; there are none so far."""
        return self.high_watermark

    def end_of_epoch(self, leader_epoch: LeaderEpoch) -> tuple[LeaderEpoch, Offset]:
        """Return the largest epoch <= `leader_epoch` that was led here, and where it ends.

        (-1, -1) for what is not known here: none, or an epoch above ours. An epoch of which no
        batch tells (nothing was written in it yet) ends where the log ends.
        """
        log = self.log
        latest = log.leader_epochs.latest
        if latest < leader_epoch <= self.leader_epoch:
            known = leader_epoch if leader_epoch == self.leader_epoch else latest
            return known, log.log_end_offset
        return log.leader_epochs.end_offset_for(leader_epoch)

    def lead(self, leader_epoch: LeaderEpoch, epoch_start: Offset) -> None:
        """This node leads from now on."""
        self.leads = True
        self.epoch_start = epoch_start
        self.leader_id, self.leader_epoch = self.replicas[0], leader_epoch
        self.in_sync = [self.leader_id]

    def stop_leading(self) -> None:
        """This node leads no more, and knows nobody who does."""
        self.leads = False
        self.leader_id, self.in_sync = NOBODY, []

    def committed_up_to(self, end_offset: Offset) -> bool:
        """Raise the high watermark; says whether it moved. It never goes back."""
        if end_offset <= self.high_watermark:
            return False
        self.high_watermark = end_offset
        return True
