"""A partition's log as its group sees it: whole batches as entries, leader epochs, ends."""

from __future__ import annotations

from collections.abc import Sequence

from mesh.replication import Entry
from mesh.replication.state import NO_EPOCH
from storage.disk import DiskFull
from storage.errors import CorruptBatch, DamagedLog
from storage.log import Log
from storage.producers import UNKNOWN_MS
from storage.records import batches, crc_matches, read_batch_header, read_records
from storage.rewrite import filler
from storage.types import Buffer, LeaderEpoch, Offset

ENTRIES_MAX = 2_000
"""Of one append: a message's numbers are 32 KiB at most (mesh/model/untrusted.py)."""


class LogView:
    """The port `mesh.replication.ReplicaLog` on a log of this node."""

    __slots__ = ("_log", "rotten_offset")

    def __init__(self, log: Log) -> None:
        """Around a log that the broker appends to as well."""
        self._log = log
        self.rotten_offset: Offset | None = None
        """Where the last `read` found nothing but what is not as it was written."""

    def replace(self, log: Log) -> None:
        """Look at another log from now on: the one before was deleted."""
        self._log = log

    @property
    def log_start_offset(self) -> Offset:
        """First offset that is kept."""
        return self._log.log_start_offset

    @property
    def first_offset(self) -> Offset:
        """Where the entry begins that holds the log's start; that itself if there is none."""
        log = self._log
        for piece in log.read(log.log_start_offset, 1, log.log_end_offset):
            return read_batch_header(piece.read()).base_offset
        return log.log_start_offset

    @property
    def log_end_offset(self) -> Offset:
        """The offset that the next entry gets."""
        return self._log.log_end_offset

    def epoch_at(self, offset: Offset) -> LeaderEpoch:
        """Return the leader epoch of the entry that holds `offset`; NO_EPOCH outside the log."""
        log = self._log
        if not log.log_start_offset <= offset < log.log_end_offset:
            return NO_EPOCH
        return log.leader_epochs.epoch_of(offset)

    def end_of(self, leader_epoch: LeaderEpoch) -> tuple[LeaderEpoch, Offset]:
        """Return the log's largest epoch <= `leader_epoch` and where it ends.

        Below the first epoch of the log: NO_EPOCH and the log's start.
        """
        log = self._log
        found, end = NO_EPOCH, log.log_start_offset
        entries = log.leader_epochs.entries()
        for number, (epoch, _) in enumerate(entries):
            if epoch > leader_epoch:
                break
            following = entries[number + 1 :]
            ends = following[0][1] if following else log.log_end_offset
            if ends > log.log_start_offset:  # Of what was deleted the log knows no epoch.
                found, end = epoch, ends
        return found, end

    def read(self, base_offset: Offset, bytes_max: int) -> tuple[Entry, ...]:
        """Return whole entries from `base_offset` on, as they were written.

        At least one, if there is one; if that is not as it was written, none, and `rotten_offset`
        says where it begins. Compaction lets a batch stretch over offsets of which nothing is left,
        and so beyond the end of whoever was away: that one gets an empty batch for the rest.
        """
        log, entries = self._log, list[Entry]()
        self.rotten_offset = None
        at = max(base_offset, log.log_start_offset)
        try:
            for piece in log.read(at, bytes_max, log.log_end_offset):
                for batch in batches(piece.read()):
                    header = read_batch_header(batch)
                    if not crc_matches(batch) or header.base_offset > at:
                        at = min(at, max(header.base_offset, log.log_start_offset))
                        break
                    data: Buffer = batch
                    if header.base_offset < base_offset:
                        if any(record.offset >= base_offset for record in read_records(batch)):
                            return ()  # Nobody's log ends there.
                        data = filler(header, base_offset)
                    size = header.last_offset - max(header.base_offset, base_offset) + 1
                    entries.append(Entry(header.leader_epoch, size, data))
                    at = header.last_offset + 1
                    if len(entries) == ENTRIES_MAX:
                        break
        except (CorruptBatch, DamagedLog):
            pass  # A length, or an index, that leads nowhere.
        if not entries and at < log.log_end_offset:
            self.rotten_offset = at
        return tuple(entries)

    def append(self, entries: Sequence[Entry]) -> None:
        """Append them at the end, unsynced; a full disk takes none from some entry on."""
        for entry in entries:
            data = entry.data
            assert isinstance(data, bytes | bytearray | memoryview), "an entry holds a batch"
            batch = memoryview(data)
            if batch.readonly:  # The log writes into it what is there already.
                batch = memoryview(bytearray(data))
            header = read_batch_header(batch)
            try:
                self._log.append(batch, header, entry.leader_epoch, UNKNOWN_MS)
            except DiskFull:
                return  # A state, not an end: what is here is still served, and may be deleted.
