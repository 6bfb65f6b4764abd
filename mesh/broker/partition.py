"""A partition as this node holds it: its log, its group, and who waits for what the group says.

The group (mesh/replication) decides who leads and what is committed; `groups.py` runs it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING

from mesh.broker.replica_log import LogView
from mesh.model.config import BrokerConfig, TopicConfig
from mesh.model.errors import ErrorCode
from mesh.model.names import INTERNAL_TOPICS
from mesh.model.types import NodeId, TopicId, TopicPartition
from mesh.replication.follower import Follower
from mesh.replication.leader import Leader
from mesh.replication.state import NO_EPOCH, NO_OFFSET
from storage.config import LogConfig

if TYPE_CHECKING:
    from mesh.broker.purgatory import Parked
    from mesh.replication import Group, Replica
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
        "caught_up_at_ms",
        "committed_before",
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
        "leadership",
        "leads",
        "log",
        "log_append_time",
        "named_by",
        "named_epoch",
        "needs_records",
        "node_id",
        "parked",
        "records_in",
        "swept_end",
        "takes_writes",
        "tied_to",
        "topic",
        "topic_id",
        "untold_until_ms",
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
        self.node_id = node_id
        self.leads = False
        """Whether this node leads it, and serves."""
        self.leadership = 0
        """Counts when this node began to lead it, and ended: what was appended under one number
        may be other records under another."""
        self.committed_before: Offset = 0
        """How much was committed when the last leadership of this node ended."""
        self.takes_writes = False
        """Whether clients' batches may be appended now; not so while leadership is handed over."""
        self.leader_id = NOBODY
        """This node while it leads."""
        self.leader_epoch: LeaderEpoch = -1
        """Of its newest leadership here."""
        self.named_by = NOBODY
        """Who names itself as its leader over a link."""
        self.named_epoch: LeaderEpoch = -1
        """In which epoch that was."""
        self.epoch_start: Offset = 0
        """Where the epoch began that this node leads; all below was inherited."""
        self.in_sync: list[NodeId] = []
        """While this node leads: the replicas that lack nothing, or have not for long."""
        self.caught_up_at_ms: dict[NodeId, int] = {}
        """While it leads: when each was last seen to have all."""
        self.swept_end: Offset = 0
        """Where the log ended when that was looked at."""
        self.high_watermark: Offset = log.log_start_offset
        self.waiting: deque[Effect] = deque()
        """Effects of the group that keep their order, from the one that waits for the disk on."""
        self.in_round = False
        """Whether the first of them is on its way to the disk."""
        self.tied_to: frozenset[NodeId] = frozenset()
        """Nodes that have to know for its sake that this one lives, and the other way round."""
        self.untold_until_ms = 0
        """So long appends may still tell them of the newest commit."""
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

    @property
    def replicas(self) -> list[NodeId]:
        """Nodes that hold it, as far as this one knows: voters first, then who learns."""
        holding, role = self.group.holding, self.group.role
        nodes = [voter.node_id for voter in holding.promise.config.voters]
        if isinstance(role, Leader):
            nodes += [one.node_id for one in role.others if one.node_id not in nodes]
        return nodes

    @property
    def other_replicas(self) -> Collection[Replica]:
        """Those that this node feeds, while it leads."""
        role = self.group.role
        return role.others if isinstance(role, Leader) else ()

    @property
    def lacks_replicas(self) -> str | None:
        """Why an acks=all produce is refused: fewer are in sync than the topic asks for."""
        wanted = self.config.in_sync_replicas_min
        there = len(self.in_sync)
        if there >= wanted or there >= min(wanted, len(self.replicas)):
            return None
        return f"{there} replicas are in sync, and min.insync.replicas is {wanted}"

    @property
    def asks_for_more(self) -> bool:
        """Whether an acks=all answer may wait for more than the commit."""
        role = self.group.role
        if not isinstance(role, Leader):
            return False
        voters = self.group.holding.promise.config.voters
        return 2 * self.config.in_sync_replicas_min > len(voters) + 1 or any(
            one not in voters and one.node_id in self.in_sync for one in role.others
        )

    def is_held(self, end_offset: Offset) -> bool:
        """Whether all hold what is below for whom an acks=all answer waits, besides the commit.

        Those are as many as min.insync.replicas says, and learners that are shown as in sync.
        """
        role = self.group.role
        if not self.asks_for_more or not isinstance(role, Leader):
            return True
        voters, held = self.group.holding.promise.config.voters, 1
        for one, progress in role.others.items():
            if one.node_id not in self.in_sync:
                continue
            if progress.counted_end >= end_offset:
                held += 1
            elif one not in voters:
                return False
        return held >= min(self.config.in_sync_replicas_min, len(self.replicas))

    @property
    def is_handed_over(self) -> bool:
        """Whether this node leads, and has somebody else lead soon."""
        role = self.group.role
        return isinstance(role, Leader) and role.handing_to is not None

    def lead(self, leader_epoch: LeaderEpoch, epoch_start: Offset, now_ms: int) -> None:
        """This node leads from now on."""
        self.leads = True
        self.leadership += 1
        self.named_by = NOBODY
        self.epoch_start = self.swept_end = epoch_start
        self.leader_id, self.leader_epoch = self.node_id, leader_epoch
        voters = self.group.holding.promise.config.voters
        self.caught_up_at_ms = {voter.node_id: now_ms for voter in voters}
        self.in_sync = [voter.node_id for voter in voters]

    def replace_log(self, log: Log) -> None:
        """Begin anew with an empty log: the one before was deleted on the leader's order."""
        self.log = log
        self.view.replace(log)
        self.high_watermark = log.log_start_offset

    def stop_leading(self) -> None:
        """This node leads no more, and knows nobody who does."""
        if self.leads:
            self.leadership += 1
            self.committed_before = self.high_watermark
        self.leads = self.takes_writes = False
        self.leader_id, self.in_sync, self.caught_up_at_ms = NOBODY, [], {}

    def holds_committed(self, end_offset: Offset, leadership: int) -> bool | None:
        """Whether what this node appended as leader is committed; None if it is not known yet.

        Args:
            end_offset: exclusive.
            leadership: `leadership` when it was appended. Once that is over, somebody else may
                have written other records there: what was not committed then, never counts.
        """
        if self.leadership == leadership:
            return True if self.high_watermark >= end_offset else None
        return self.leadership == leadership + 1 and self.committed_before >= end_offset

    def outlived(self, end_offset: Offset, leader_epoch: LeaderEpoch) -> bool | None:
        """Whether what this node appended as leader is committed, whoever leads now.

        A leader that is lost need not take along what it had appended: its successor has inherited
        that, or writes other records there. None while this node cannot tell.

        Args:
            end_offset: exclusive.
            leader_epoch: in which the last record below it was appended.
        """
        if self.high_watermark >= end_offset:
            found = self.view.epoch_at(end_offset - 1)
            return None if found == NO_EPOCH else found == leader_epoch
        role = self.group.role
        if isinstance(role, Leader):
            later, start = self.leads and self.leader_epoch > leader_epoch, self.epoch_start
        else:
            later = isinstance(role, Follower) and role.is_following
            later = later and self.group.leader_epoch > leader_epoch
            start = role.epoch_start if isinstance(role, Follower) else NO_OFFSET
        # All that a later leader inherited is committed, and ends before.
        return False if later and NO_OFFSET != start <= self.high_watermark else None

    def why_not_held(self, end_offset: Offset, leadership: int) -> ErrorCode | None:
        """What an acks=all produce is answered that need not wait any more; None: success.

        Args: as of `holds_committed`.
        """
        committed = self.holds_committed(end_offset, leadership)
        if committed is False:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER
        if committed is None:
            return ErrorCode.REQUEST_TIMED_OUT
        if self.is_held(end_offset):
            return None
        if self.lacks_replicas:
            return ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND
        return ErrorCode.REQUEST_TIMED_OUT

    def committed_up_to(self, end_offset: Offset) -> bool:
        """Raise the high watermark; says whether it moved. It never goes back."""
        if end_offset <= self.high_watermark:
            return False
        self.high_watermark = end_offset
        return True
