"""How far groups have come: commit, fetch, delete, and what goes by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.groups.image import NO_OFFSET, CommittedOffset
from mesh.model.errors import ErrorCode
from mesh.model.limits import GROUP_RECORD_BYTES_MAX
from mesh.model.types import NO_TOPIC_ID
from mesh.wire.schemas.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from mesh.wire.schemas.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)
from mesh.wire.schemas.offset_fetch import (
    OffsetFetchRequestGroup,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mesh.groups.coordinator import Coordinator
    from mesh.groups.image import Group
    from mesh.groups.turn import Ask, Topic, Turn
    from mesh.model.types import TopicId
    from mesh.wire.schemas.offset_commit import OffsetCommitRequestPartition

IDS_SINCE = 10
"""From this version of OffsetCommit and OffsetFetch on, topics are named by their ids."""
MS_PER_MINUTE = 60_000
COMMIT_BYTES_MIN = 60
"""Of an offset's record without its texts."""
TIMESTAMP_MAX = 2**63 - 1
"""What a record has room for."""


class Offsets:
    """The offsets of one coordinator's groups."""

    def __init__(self, coordinator: Coordinator) -> None:
        """Of the groups in the coordinator's image."""
        self._coordinator = coordinator
        self._image = coordinator.image
        self.commits_count = 0
        """Partitions for which an offset was committed since the start."""

    # Requests

    def commit(self, ask: Ask, turn: Turn) -> None:
        """Keep what a member, or an administrator, says; or refuse all of it alike."""
        body = ask.body
        assert isinstance(body, OffsetCommitRequest)
        error = self._coordinator.check_commit(body, ask.version, turn)
        if error is None and _bytes_of(body) > GROUP_RECORD_BYTES_MAX:
            error = ErrorCode.UNKNOWN_SERVER_ERROR
        response = OffsetCommitResponse()
        for wanted in body.topics:
            if not wanted.partitions:
                continue
            topic = _topic(wanted.name, wanted.topic_id, ask.version, turn)
            result = OffsetCommitResponseTopic(name=wanted.name, topic_id=wanted.topic_id)
            response.topics.append(result)
            for partition in wanted.partitions:
                code = error or _check(topic, ask.version, partition, turn)
                if not code:
                    assert topic is not None
                    self._write(body, topic, partition, turn)
                result.partitions.append(
                    OffsetCommitResponsePartition(
                        partition_index=partition.partition_index, error_code=code
                    )
                )
        turn.reply(ask, response, body.group_id)

    def _write(
        self,
        body: OffsetCommitRequest,
        topic: Topic,
        partition: OffsetCommitRequestPartition,
        turn: Turn,
    ) -> None:
        now_ms = turn.now.wall_ms
        keep_ms = body.retention_time_ms
        committed = CommittedOffset(
            partition.committed_offset,
            partition.committed_leader_epoch,
            partition.committed_metadata or "",
            now_ms,
            -1 if keep_ms == -1 else min(now_ms + keep_ms, TIMESTAMP_MAX),
            topic.topic_id,
        )
        turn.write_offset(body.group_id, (topic.name, partition.partition_index), committed)
        self.commits_count += 1

    def fetch(self, ask: Ask, turn: Turn) -> None:
        """Say how far a group has come; in partitions that were never committed, -1."""
        body = ask.body
        assert isinstance(body, OffsetFetchRequestGroup)
        response = OffsetFetchResponseGroup(group_id=body.group_id)
        error = self._coordinator.check_fetch(body, turn)
        group = self._image.groups.get(body.group_id)
        if error:
            response.error_code = error
        elif body.topics is None:
            response.topics = _all_of(group, ask.version, turn)
        else:
            for wanted in body.topics:
                topic = _topic(wanted.name, wanted.topic_id, ask.version, turn)
                result = OffsetFetchResponseTopics(name=wanted.name, topic_id=wanted.topic_id)
                response.topics.append(result)
                for index in wanted.partition_indexes:
                    if ask.version >= IDS_SINCE and topic is None:
                        code, found = ErrorCode.UNKNOWN_TOPIC_ID, NO_OFFSET
                    else:
                        name = wanted.name if topic is None else topic.name
                        code, found = ErrorCode.NONE, _offset(group, name, index, topic)
                    result.partitions.append(_fetched(index, found, code))
        turn.reply(ask, response, body.group_id)

    def delete(self, ask: Ask, turn: Turn) -> None:
        """Forget offsets, as an administrator asks; not of topics that members subscribe to."""
        body = ask.body
        assert isinstance(body, OffsetDeleteRequest)
        group = self._image.groups.get(body.group_id)
        response = OffsetDeleteResponse()
        error = self._coordinator.check_offset_delete(body.group_id)
        if error:
            response.error_code = error
            turn.reply(ask, response, body.group_id)
            return
        for wanted in body.topics:
            topic = turn.topics.named(wanted.name)
            is_read = self._coordinator.subscribes(body.group_id, wanted.name)
            result = OffsetDeleteResponseTopic(name=wanted.name)
            response.topics.append(result)
            for partition in wanted.partitions:
                index = partition.partition_index
                if topic is None or not 0 <= index < topic.partition_count:
                    code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                elif is_read:
                    code = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
                else:
                    code = ErrorCode.NONE
                    if group is not None and (wanted.name, index) in group.offsets:
                        forget(body.group_id, [(wanted.name, index)], turn)
                result.partitions.append(
                    OffsetDeleteResponsePartition(partition_index=index, error_code=code)
                )
        turn.reply(ask, response, body.group_id)

    # What goes by itself

    def begin(self, turn: Turn) -> None:
        """All records are replayed: what belongs to topics that are gone goes, too.

        Those that are not known stay: this node may not have heard of them yet.
        """
        for group in list(self._image.groups.values()):
            gone = [
                where
                for where, committed in group.offsets.items()
                if turn.topics.is_deleted(committed.topic_id)
            ]
            forget(group.group_id, gone, turn)
        self._look_again(turn)

    def topics_deleted(self, topic_ids: Collection[TopicId], turn: Turn) -> None:
        """The deletion of topics is committed: nobody has come anywhere in them."""
        for group in list(self._image.groups.values()):
            gone = [at for at, kept in group.offsets.items() if kept.topic_id in topic_ids]
            forget(group.group_id, gone, turn)

    def _look_again(self, turn: Turn) -> None:
        at_ms = turn.now.monotonic_ms + turn.config.offsets_retention_check_ms
        self._coordinator.set_timer(at_ms, self.expire)

    def expire(self, turn: Turn) -> None:
        """Forget offsets whose time is over, and groups of which nothing is left."""
        self._look_again(turn)
        retention_ms = turn.config.offsets_retention_minutes * MS_PER_MINUTE
        for group in list(self._image.groups.values()):
            gone = [
                where
                for where, committed in group.offsets.items()
                if self._is_over(group, where[0], committed, retention_ms, turn)
            ]
            is_last = len(gone) == len(group.offsets)
            forget(group.group_id, gone, turn)
            if is_last:
                self._coordinator.delete_if_empty(group.group_id, turn)

    def _is_over(
        self,
        group: Group,
        topic: str,
        committed: CommittedOffset,
        retention_ms: int,
        turn: Turn,
    ) -> bool:
        since_ms = self._coordinator.idle_since_ms(group, topic, committed)
        if since_ms is None:
            return False
        if committed.expire_ms != -1:
            return turn.now.wall_ms >= committed.expire_ms
        return turn.now.wall_ms - since_ms >= retention_ms


def _bytes_of(body: OffsetCommitRequest) -> int:
    """Return about how many bytes the records of a commit take."""
    fixed = COMMIT_BYTES_MIN + len(body.group_id)
    return sum(
        fixed + len(topic.name) + len(partition.committed_metadata or "")
        for topic in body.topics
        for partition in topic.partitions
    )


def forget(group_id: str, where: Iterable[tuple[str, int]], turn: Turn) -> None:
    """Write that a group has come nowhere in these partitions."""
    for topic, index in where:
        turn.write_offset(group_id, (topic, index), None)


def _topic(name: str, topic_id: TopicId, version: int, turn: Turn) -> Topic | None:
    return turn.topics.with_id(topic_id) if version >= IDS_SINCE else turn.topics.named(name)


def _check(
    topic: Topic | None, version: int, partition: OffsetCommitRequestPartition, turn: Turn
) -> ErrorCode:
    if topic is None and not turn.topics.is_current():
        return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    if topic is None and version >= IDS_SINCE:
        return ErrorCode.UNKNOWN_TOPIC_ID
    if topic is None or not 0 <= partition.partition_index < topic.partition_count:
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    if len(partition.committed_metadata or "") > turn.config.offset_metadata_bytes_max:
        return ErrorCode.OFFSET_METADATA_TOO_LARGE
    return ErrorCode.NONE


def _offset(group: Group | None, name: str, index: int, topic: Topic | None) -> CommittedOffset:
    found = NO_OFFSET if group is None else group.offsets.get((name, index), NO_OFFSET)
    return NO_OFFSET if _is_of_another(found, topic) else found


def _is_of_another(committed: CommittedOffset, topic: Topic | None) -> bool:
    """Whether it was committed for an earlier topic of that name."""
    return topic is not None and committed.topic_id not in (NO_TOPIC_ID, topic.topic_id)


def _all_of(group: Group | None, version: int, turn: Turn) -> list[OffsetFetchResponseTopics]:
    """Return all that a group has committed; by id only what still has one."""
    found: dict[str, OffsetFetchResponseTopics] = {}
    for (name, index), committed in group.offsets.items() if group is not None else ():
        result = found.get(name)
        if result is None:
            topic = turn.topics.named(name)
            if version >= IDS_SINCE and topic is None:
                continue
            topic_id = NO_TOPIC_ID if topic is None else topic.topic_id
            result = found[name] = OffsetFetchResponseTopics(name=name, topic_id=topic_id)
        if not _is_of_another(committed, turn.topics.named(name)):
            result.partitions.append(_fetched(index, committed, ErrorCode.NONE))
    return [result for result in found.values() if result.partitions]


def _fetched(
    index: int, committed: CommittedOffset, code: ErrorCode
) -> OffsetFetchResponsePartitions:
    return OffsetFetchResponsePartitions(
        partition_index=index,
        committed_offset=committed.offset,
        committed_leader_epoch=committed.leader_epoch,
        metadata=committed.metadata,
        error_code=code,
    )
