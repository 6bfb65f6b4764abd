"""A partition as this node leads it: its log, how far it is committed, and who waits for that.

One node, one voter: what its own disk holds is committed (with `--durability memory`, what its
page cache holds). The partition group takes over this decision once there are more voters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.model.config import BrokerConfig, TopicConfig
from mesh.model.types import NodeId, TopicId, TopicPartition
from storage.config import LogConfig

if TYPE_CHECKING:
    from mesh.broker.purgatory import Parked
    from storage.log import Log
    from storage.types import LeaderEpoch, Offset

NO_LIMIT = 2**63 - 1
"""Long.MAX_VALUE, which is how Kafka writes that a time is not limited."""


def log_config(config: TopicConfig, broker: BrokerConfig) -> LogConfig:
    """Return what the log itself needs of a topic's settings."""
    return LogConfig(
        segment_bytes=config.segment_bytes,
        segment_ms=config.segment_ms,
        retention_ms=config.retention_ms if "delete" in config.cleanup_policy else -1,
        retention_bytes=config.retention_bytes if "delete" in config.cleanup_policy else -1,
        index_interval_bytes=config.index_interval_bytes,
        producer_expiration_ms=broker.producer_id_expiration_ms,
    )


class Partition:
    """One partition of one topic id on this node."""

    __slots__ = (
        "batches_in",
        "bytes_in",
        "bytes_out",
        "config",
        "fetches",
        "gone",
        "high_watermark",
        "in_sync",
        "index",
        "leader_epoch",
        "leader_id",
        "log",
        "log_append_time",
        "needs_records",
        "parked",
        "records_in",
        "replicas",
        "topic",
        "topic_id",
    )

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
        """A partition led by `node_id`, with all that its log holds committed."""
        self.topic = topic
        self.topic_id = topic_id
        self.index = index
        self.log = log
        self.leader_id = node_id
        self.leader_epoch: LeaderEpoch = max(log.leader_epochs.latest, 0)
        self.replicas: list[NodeId] = [node_id]
        self.in_sync: list[NodeId] = [node_id]
        # What recovery kept is synced before anybody is served, so the one voter has it all.
        self.high_watermark: Offset = log.log_end_offset
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
    def last_stable_offset(self) -> Offset:
        """First offset that a transaction has not decided yet; there are none so far."""
        return self.high_watermark

    def committed_up_to(self, end_offset: Offset) -> bool:
        """Raise the high watermark; says whether it moved. It never goes back."""
        if end_offset <= self.high_watermark:
            return False
        self.high_watermark = end_offset
        return True
