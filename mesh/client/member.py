"""Reading as a member of a group: drives `membership.Membership` and a reader. trio.

Records count as processed once the next chunk is asked for, or when the reader is left without an
error; only then is a position committed. So after a crash some records come a second time, and
none is lost.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from mesh.client.assignment import EARLIEST, Assignment, AtOffset, Chunk, Place
from mesh.client.client import Client, bare_nursery, connect, now
from mesh.client.codes import code_of
from mesh.client.groups import (
    MOVED,
    GroupError,
    GroupsUnservedError,
    ask_coordinator,
    fetch_offsets,
)
from mesh.client.membership import FENCED, Held, Membership
from mesh.client.reader import Reader
from mesh.client.reading import Skipped
from mesh.client.settings import (
    CannotConnectError,
    ClientError,
    ConnectionLostError,
    ReaderSettings,
)
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import TopicPartition
from mesh.wire import WireError
from mesh.wire.schemas.consumer_group_heartbeat import ConsumerGroupHeartbeatResponse
from mesh.wire.schemas.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from storage.types import Offset

PASSING = (GroupsUnservedError, CannotConnectError, ConnectionLostError)
"""What a group outlives: its coordinator is away, for longer than one request may take."""
FAREWELL_S_MAX = 5.0
"""For the last commit and the last heartbeat together, also when the reader is cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """How a member behaves; the defaults are those of Kafka's Java clients unless said."""

    start: Place = EARLIEST
    """Where partitions begin that the group never committed."""
    ends: tuple[Place, ...] = ()
    """Where to stop in each partition; none: never."""
    commit_ms: int = 5_000
    """Between two commits, if there is something new."""
    poll_ms_max: int = 300_000
    """Who asks for no chunk for so long leaves the group until it does."""
    rebalance_ms_max: int = 60_000
    """How long the coordinator waits for partitions to be given up."""
    reading: ReaderSettings = field(default_factory=lambda: ReaderSettings(reset="nearest"))


class GroupReader:
    """Reads what a group gives to this member; made by `group_reader`. For one task."""

    def __init__(
        self,
        client: Client,
        group: str,
        topics: Sequence[str],
        settings: GroupSettings,
        nursery: trio.Nursery,
        on_skip: Callable[[Skipped], None] | None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._nursery = nursery
        self._on_skip = on_skip
        self._membership = Membership(group, str(uuid.uuid4()), topics, settings.rebalance_ms_max)
        self._source: Reader | None = None
        """Of the partitions held; None while there are none."""
        self._scope = trio.CancelScope()
        """Around the source's task."""
        self._places: tuple[TopicPartition, ...] = ()
        self._committed: dict[TopicPartition, Offset] = {}
        self._given_back: dict[TopicPartition, Offset] = {}
        self._commit_at_ms = 0
        self._asked_at_ms = now().monotonic_ms
        self._inside = False
        """Whether the user waits for a chunk."""
        self._wake = trio.Event()
        """Set for the heartbeats' task."""
        self._beating = trio.CancelScope()
        self._waiting = trio.CancelScope()
        """Around the user's wait for records; cancelled when there is something else to do."""
        self._processed: dict[TopicPartition, Offset] = {}
        """Positions as they were when the user last asked for a chunk."""
        self._error: Exception | None = None

    @property
    def assigned(self) -> tuple[TopicPartition, ...]:
        """Return the partitions that are read now."""
        return self._places

    async def next_chunk(self) -> Chunk | None:
        """Return records of one more batch; None once every partition held has reached its end.

        What was returned before counts as processed from now on.

        Raises:
            GroupError: the group does not take us, or no longer.
            KafkaError: a partition cannot be read on.
        """
        self._inside = True
        self._processed = self._positions()
        try:
            while True:
                if self._error is not None:
                    raise self._error
                if await self._turn():
                    continue
                # Nothing is awaited between that look and the wait, so no news is missed.
                found, chunk = await self._next_of_source()
                if found:
                    return chunk
        finally:
            self._inside = False
            self._asked_at_ms = now().monotonic_ms

    async def _turn(self) -> bool:
        """Do one thing that comes before reading; say whether there was any."""
        member = self._membership
        try:
            if member.fenced:
                self._close_source()
                member.forget()
                self._wake.set()
            elif member.wanted is not None:
                await self._reconcile()
            elif now().monotonic_ms >= self._commit_at_ms:
                await self._commit(self._client, self._positions())
            else:
                return False
        except PASSING:
            pass  # Asked for long enough: the next turn asks again.
        return True

    def ready_chunk(self) -> Chunk | None:
        """Return what `next_chunk` would return without waiting; None if it would wait."""
        if self._source is None or self._membership.wanted is not None or self._membership.fenced:
            return None
        return self._source.ready_chunk()

    def give_back(self, partition: TopicPartition, offset: Offset) -> None:
        """Say that of what was handed out only records below this offset are processed."""
        self._given_back[partition] = offset

    async def _next_of_source(self) -> tuple[bool, Chunk | None]:
        """Wait for records, for a commit that is due, or for news of the group."""
        deadline = self._commit_at_ms / 1000
        with trio.CancelScope(deadline=deadline) as self._waiting:
            if self._source is None:
                await trio.sleep(math.inf)
            else:
                return True, await self._source.next_chunk()
        return False, None

    # Partitions

    async def _reconcile(self) -> None:
        """Commit what is given up, hold what is assigned, and read it from where the group is."""
        wanted = self._membership.wanted
        assert wanted is not None
        await self._commit(self._client, self._positions())
        self._close_source()
        names = await self._names(wanted)
        if self._membership.wanted is not wanted or self._membership.fenced:
            return  # It changed meanwhile: look again.
        known = await fetch_offsets(self._client, self._membership.group)
        self._places = tuple(sorted(names))
        self._committed = {place: known[place].offset for place in names if place in known}
        if self._places:
            self._open_source()
        self._membership.take()
        self._wake.set()

    async def _names(self, held: Held) -> list[TopicPartition]:
        cluster = self._client.cluster
        topics = {topic_id for topic_id, _ in held}
        if any(not cluster.name_of("", topic_id) for topic_id in topics):
            await self._client.refresh(None)
        found = [(cluster.name_of("", topic_id), index) for topic_id, index in held]
        # One without a name was deleted; the coordinator will know soon.
        return [TopicPartition(name, index) for name, index in found if name]

    def _open_source(self) -> None:
        starts: dict[TopicPartition, Place] = {
            place: AtOffset(offset) for place, offset in self._committed.items()
        }
        assignments = [
            Assignment(place, starts.get(place, self._settings.start), self._settings.ends)
            for place in self._places
        ]
        source = Reader(
            self._client, assignments, self._settings.reading, self._nursery, self._on_skip
        )
        scope = trio.CancelScope()

        async def run() -> None:
            with scope:
                await source.run()

        self._nursery.start_soon(run)
        self._source, self._scope = source, scope

    def _close_source(self) -> None:
        if self._source is not None:
            self._source.close()
            self._scope.cancel()
        self._source, self._places = None, ()
        self._given_back.clear()
        self._processed = {}  # Others may be further by now.

    # Commits

    def _positions(self) -> dict[TopicPartition, Offset]:
        """Return where each partition is, if that is not committed yet."""
        found = {}
        for place in self._places:
            assert self._source is not None
            offset = self._given_back.get(place, self._source.position(place))
            if offset is not None and offset != self._committed.get(place):
                found[place] = offset
        return found

    async def _commit(self, client: Client, offsets: Mapping[TopicPartition, Offset]) -> None:
        """Commit positions as a member; when a rebalance is in the way, the next try has them."""
        self._commit_at_ms = now().monotonic_ms + self._settings.commit_ms
        if not offsets:
            return
        topics: dict[str, OffsetCommitRequestTopic] = {}
        for place in sorted(offsets):
            topic_id = self._client.cluster.topic_id(place.topic)
            topic = OffsetCommitRequestTopic(name=place.topic, topic_id=topic_id)
            topics.setdefault(place.topic, topic).partitions.append(
                OffsetCommitRequestPartition(
                    partition_index=place.partition, committed_offset=offsets[place]
                )
            )
        member = self._membership
        request = OffsetCommitRequest(
            group_id=member.group,
            generation_id_or_member_epoch=member.epoch,
            member_id=member.member_id,
            topics=list(topics.values()),
        )
        response, _ = await ask_coordinator(
            client, member.group, request, OffsetCommitResponse, _passing
        )
        for topic_answer in response.topics:
            name = self._client.cluster.name_of(topic_answer.name, topic_answer.topic_id)
            for part in topic_answer.partitions:
                place = TopicPartition(name, part.partition_index)
                code = code_of(part.error_code)
                if not code:
                    self._committed[place] = offsets[place]
                elif code in FENCED:
                    member.fenced = True
                elif code is not ErrorCode.STALE_MEMBER_EPOCH:
                    raise GroupError(code, member.group, f"the offset of {place} is not taken")

    # Heartbeats

    async def run(self) -> None:
        """Send heartbeats until the reader is left."""
        member = self._membership
        try:
            with self._beating:
                while True:
                    self._wake = trio.Event()
                    await self._beat()
                    if member.fenced or member.wanted is not None:
                        self._waiting.cancel()
                    due_ms = math.inf if member.fenced else member.wake_at_ms
                    with trio.move_on_at(due_ms / 1000):
                        await self._wake.wait()
        except (KafkaError, ClientError, WireError) as error:
            self._error = error
            self._waiting.cancel()

    async def _beat(self) -> None:
        member = self._membership
        idle_ms = 0 if self._inside else now().monotonic_ms - self._asked_at_ms
        if idle_ms > self._settings.poll_ms_max:
            await self._leave(self._client)  # As Java does: others can read what we do not.
            member.fenced = True
            return
        request = member.request(now())
        if request is None:
            return
        try:
            response, _ = await ask_coordinator(
                self._client,
                member.group,
                request,
                ConsumerGroupHeartbeatResponse,
                lambda answer: answer.error_code if code_of(answer.error_code) in MOVED else 0,
            )
        except PASSING:
            member.lost(now())
            return
        if code := member.answered(response, now()):
            raise GroupError(code, member.group, response.error_message)

    async def _leave(self, client: Client) -> None:
        """Tell the coordinator that we go; if it does not hear it, our session ends by itself."""
        request = self._membership.leaving()
        if request is not None:
            await ask_coordinator(
                client,
                self._membership.group,
                request,
                ConsumerGroupHeartbeatResponse,
                lambda answer: 0,
                repeat=False,
            )

    async def finish(self, *, well: bool) -> None:
        """Commit, leave and close, within FAREWELL_S_MAX whatever happens.

        Args:
            well: all that was handed out is processed; else what was when a chunk was last
                asked for.
        """
        offsets = self._positions() if well else self._processed
        self._beating.cancel()
        with trio.CancelScope(deadline=trio.current_time() + FAREWELL_S_MAX, shield=True):
            try:
                # Connections of its own: ours are cancelled if we are.
                addresses = list(self._client.cluster.brokers.values())
                async with connect(addresses, self._client.settings) as client:
                    if not self._membership.fenced:
                        await self._commit(client, offsets)
                    await self._leave(client)
            except (KafkaError, ClientError, WireError):
                pass  # The group goes on from the last commit.
        self._close_source()


def _passing(response: OffsetCommitResponse) -> int:
    codes = {part.error_code for topic in response.topics for part in topic.partitions}
    return next((code for code in codes if code in MOVED), 0)


@asynccontextmanager
async def group_reader(
    client: Client,
    group: str,
    topics: Sequence[str],
    settings: GroupSettings | None = None,
    *,
    on_skip: Callable[[Skipped], None] | None = None,
) -> AsyncIterator[GroupReader]:
    """Join a new group (KIP-848), or make it, and read what it gives to us.

    Leaving the block commits what was processed and leaves the group.

    Args:
        client: connected.
        group: its name.
        topics: subscribed to.
        settings: bounds and time-outs.
        on_skip: told when reading goes on elsewhere because an offset is not in the log.
    """
    async with bare_nursery() as nursery:
        made = GroupReader(client, group, topics, settings or GroupSettings(), nursery, on_skip)
        nursery.start_soon(made.run)
        well = False
        try:
            yield made
            well = True
        finally:
            await made.finish(well=well)
