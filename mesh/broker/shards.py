"""From the registry's logs into its images: what this node appends, and what it follows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mesh.registry import Change, RecordPair, Registry
from mesh.replication.follower import Follower
from mesh.replication.leader import Leader
from storage.records import Record, batches, read_batch_header, read_records

if TYPE_CHECKING:
    from mesh.broker.partition import Partition
    from storage.types import Offset

READ_BYTES = 1 << 20


class Shards:
    """The registry's partitions on this node, and how far their records are replayed.

    While this node leads a shard, its tentative image holds the whole log; while it follows, or
    nobody leads, what is committed, and no more.
    """

    def __init__(self, registry: Registry, partitions: Sequence[Partition]) -> None:
        """Around partitions in the order of the shards; nothing was replayed yet."""
        self.registry = registry
        self.partitions = list(partitions)
        self._unreplayed: dict[Partition, deque[tuple[Offset, RecordPair]]] = {}
        """Of the shards that this node leads: what was appended and is not committed."""

    def __contains__(self, partition: Partition) -> bool:
        """Whether it is one of the registry's."""
        index = partition.index
        return index < len(self.partitions) and self.partitions[index] is partition

    def led(self, shard: Partition) -> None:
        """This node leads a shard from now on: what it inherited counts for the next request."""
        index = shard.index
        self.registry.truncated(index, self.registry.replayed_ends[index])
        rest = list(_records(shard, self.registry.replayed_ends[index], shard.log.log_end_offset))
        waiting = self._unreplayed[shard] = deque()
        for offset, pair in rest:
            self.registry.appended(index, offset, [pair])
            waiting.append((offset, pair))

    def ended(self, shard: Partition) -> None:
        """This node leads a shard no more: what is not committed may never be."""
        if self._unreplayed.pop(shard, None) is not None:
            self.registry.truncated(shard.index, self.registry.replayed_ends[shard.index])

    def appended(self, shard: Partition, base_offset: Offset, records: list[RecordPair]) -> None:
        """This node appended records to a shard that it leads."""
        self.registry.appended(shard.index, base_offset, records)
        self._unreplayed[shard].extend(enumerate(records, base_offset))

    def is_loaded(self, shard: Partition) -> bool:
        """Whether requests may be decided on a shard: led here, with all it inherited replayed."""
        return (
            shard.takes_writes
            and shard in self._unreplayed
            and self.registry.replayed_ends[shard.index] >= shard.epoch_start
        )

    def is_current(self) -> bool:
        """Whether this node leads, or follows, every shard up to where its epoch began."""
        for shard in self.partitions:
            role, end = shard.group.role, self.registry.replayed_ends[shard.index]
            if isinstance(role, Leader):
                if not self.is_loaded(shard):
                    return False
            elif not isinstance(role, Follower) or not role.is_following or end < role.epoch_start:
                return False
        return True

    def replay(self, shard: Partition) -> Iterator[Change]:
        """Yield what the records ask for that were committed since the last time, and are on disk.

        What they ask for is: a promise that goes with its topic would come back as a blank one,
        which has forgotten its votes, if the record of that were lost here.
        """
        index, end = shard.index, shard.high_watermark
        if not shard.group.holding.memory:
            end = min(end, shard.group.holding.synced)
        waiting = self._unreplayed.get(shard)
        if waiting is None:
            for offset, pair in _records(shard, self.registry.replayed_ends[index], end):
                yield from self.registry.committed(index, offset, pair)
            return
        while waiting and waiting[0][0] < end:
            offset, pair = waiting.popleft()
            yield from self.registry.committed(index, offset, pair)


def _records(
    shard: Partition, offset: Offset, end_offset: Offset
) -> Iterator[tuple[Offset, RecordPair]]:
    """Yield the records of a shard from an offset on."""
    start = max(offset, shard.log.log_start_offset)
    while start < end_offset:
        for piece in shard.log.read(start, READ_BYTES, end_offset):
            for batch in batches(piece.read()):
                for record in read_records(batch):
                    if record.offset >= offset:
                        yield record.offset, _pair(record)
                start = read_batch_header(batch).last_offset + 1


def _pair(record: Record) -> RecordPair:
    return RecordPair(record.key or b"", record.value or b"")
