"""A replica that follows: it makes its log the leader's, and says how far it has come."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.replication.events import Advanced, Trimmed
from mesh.replication.holding import Holding
from mesh.replication.messages import Append, Held, Mismatch
from mesh.replication.state import NO_EPOCH, NO_OFFSET, Promise, Replica
from storage.types import LeaderEpoch, Offset


@dataclass(slots=True, kw_only=True)
class Follower:
    """Follows, or would follow, the leader of the promised epoch."""

    holding: Holding
    leader: Replica | None = None
    epoch_start: Offset = NO_OFFSET
    sure_end: Offset = NO_OFFSET
    """An unsure replica is sure again once it holds so much; NO_OFFSET until its leader says."""
    matched: Offset = NO_OFFSET
    """Below, our log is the leader's; NO_OFFSET until it was compared in this session."""

    @property
    def is_following(self) -> bool:
        """Whether our log was compared with the leader's, and has all that it had when it won."""
        return self.leader is not None and self.matched >= max(self.epoch_start, 0)

    def ask(self) -> None:
        """Tell the leader where our log ends, so that it sends what follows."""
        if self.leader is not None:
            self._mismatch(self.holding.promise.leader_epoch)

    def on_append(self, append: Append) -> None:
        """Take what the leader sent in our term, which is durable."""
        holding = self.holding
        if holding.changing:
            return  # We ask when that is done.
        self.epoch_start = append.epoch_start
        self.sure_end = append.sure_end if append.unsure == holding.start else NO_OFFSET
        if self._begins_anew(append):
            holding.empty(append.base_offset)
        elif (fork := self._fork(append)) is not None:
            self.matched = min(self.matched, fork)
            holding.cut(fork)
        elif self._continues(append):
            self._take(append)
        else:
            self._mismatch(append.previous_epoch)

    def lose(self, end_offset: Offset) -> None:
        """Have what is bad sent again; the cut asks the leader for it when it is done."""
        self.matched = min(self.matched, end_offset)

    def settle(self) -> None:
        """Write down how far we have come, and say it to the leader once it is durable."""
        holding, promise = self.holding, self.holding.promise
        if promise.tombstone or holding.changing:
            return
        self._write_down()
        if self.leader is None or self.matched == NO_OFFSET:
            return
        epoch = promise.leader_epoch
        counts = holding.promise.log_epoch == epoch and not holding.damaged
        held = Held(
            epoch,
            promise.session,
            log_end=self.matched,
            counted_end=self._reached(holding.synced) if counts else NO_OFFSET,
            config_id=holding.promise.config.id,
            log_start_offset=holding.promise.log_start_offset,
            unsure=holding.unsure,
        )
        holding.send(self.leader, held)

    def _write_down(self) -> None:
        holding = self.holding
        settled = self._settled(holding.synced)
        holding.persist(
            synced_end=settled.synced_end, log_epoch=settled.log_epoch, unsure=settled.unsure
        )

    def foresee_synced(self, end_offset: Offset) -> Promise | None:
        """Return what we shall promise once the sync under way has reached `end_offset`."""
        holding = self.holding
        if holding.syncing is None or holding.changing or holding.promise.tombstone:
            return None
        settled = self._settled(max(holding.synced, min(end_offset, holding.syncing)))
        return settled if settled != holding.promise else None

    def _reached(self, synced: Offset) -> Offset:
        """Return how much of what agrees with the leader counts, with so much on disk."""
        return self.matched if self.holding.memory else min(synced, self.matched)

    def _settled(self, synced: Offset) -> Promise:
        """Return what is to be written down with so much of the log on disk."""
        promise, reached = self.holding.promise, self._reached(synced)
        epoch = promise.leader_epoch
        adopted = self.epoch_start != NO_OFFSET and reached >= self.epoch_start
        # A damaged replica must not forget the end that it held before it has a whole log again.
        synced_end = max(promise.synced_end, synced)
        if adopted and promise.log_epoch < epoch:
            synced_end = synced
        # Sure only with all of it on disk, or it could lose that once more and vote without it.
        is_sure = adopted and NO_OFFSET != self.sure_end <= reached
        return promise._replace(
            synced_end=synced_end,
            log_epoch=epoch if adopted else promise.log_epoch,
            unsure=promise.unsure and not is_sure,
        )

    def _begins_anew(self, append: Append) -> bool:
        """Say whether all that we have ends before the leader's log begins, which is sent to us.

        The first batch of the leader may begin below its log's start, and goes whole.
        """
        log, end, base = self.holding.log, self.holding.log_end, append.base_offset
        if base > append.log_start_offset:
            return False  # We ask for its beginning, if we lack that.
        below = end < append.log_start_offset
        if end == append.log_start_offset and append.entries:
            below = base < end
        return below and not log.log_start_offset == end == base

    def _fork(self, append: Append) -> Offset | None:
        """Return the first offset at which our log is known to differ from the leader's."""
        log, end = self.holding.log, self.holding.log_end
        start = max(append.epoch_start, log.log_start_offset)
        # From epoch_start on the leader wrote everything itself. What we have there of older
        # epochs would make our log look newer than it is as soon as it counts as adopted.
        if start < end and log.epoch_at(start) < append.leader_epoch:
            return start
        if not self._continues(append):
            return None
        offset = append.base_offset
        for entry in append.entries:
            if log.log_start_offset <= offset < end and log.epoch_at(offset) != entry.leader_epoch:
                return offset
            offset += entry.size
        return None

    def _continues(self, append: Append) -> bool:
        """Say whether our log is the leader's up to where the entries begin."""
        log, base = self.holding.log, append.base_offset
        if base > log.log_end_offset:
            return False
        # What is below a log start is committed, hence the same everywhere.
        start = max(log.log_start_offset, append.log_start_offset)
        return base <= start or log.epoch_at(base - 1) == append.previous_epoch

    def _take(self, append: Append) -> None:
        """Append what we lack; nothing conflicts."""
        holding = self.holding
        offset = append.base_offset
        for entry in append.entries:
            if offset < holding.log_end < offset + entry.size:
                return  # No log has a batch there that ends elsewhere than ours.
            if offset >= holding.log_end:
                holding.log.append((entry,))
                if holding.log_end == offset:
                    break  # The disk is full; the leader sends it again.
            offset += entry.size
        self.matched = max(self.matched, offset)
        high_watermark = min(append.high_watermark, self.matched)
        if high_watermark > holding.high_watermark:
            holding.high_watermark = high_watermark
            holding.effects.append(Advanced(high_watermark))
        self._follow_start(append.log_start_offset)
        # What begins a sync is answered once for both, when that is over. While one is under way
        # the leader hears at once that more has come, so that it goes on however slow the disk is.
        begins_sync = holding.syncing is None
        holding.sync()
        if begins_sync and holding.syncing is not None and not holding.memory:
            self._write_down()
        else:
            self.settle()

    def _follow_start(self, log_start_offset: Offset) -> None:
        holding = self.holding
        if log_start_offset > holding.promise.log_start_offset:
            holding.persist(log_start_offset=log_start_offset)
            holding.effects.append(Trimmed(log_start_offset))

    def _mismatch(self, leader_epoch: LeaderEpoch) -> None:
        """Point the leader to the end of our newest epoch that it may know."""
        holding, promise = self.holding, self.holding.promise
        assert self.leader is not None
        epoch, end = NO_EPOCH, holding.log.log_start_offset
        if not holding.changing:
            epoch, end = holding.log.end_of(leader_epoch)
        found = Mismatch(promise.leader_epoch, promise.session, epoch, end, holding.unsure)
        holding.send(self.leader, found)
