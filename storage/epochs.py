"""Leader epochs of a log: with which offset each began (KIP-101, KIP-320)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from storage.types import LeaderEpoch, Offset

FILE_NAME = "leader-epoch-checkpoint"


class LeaderEpochs:
    """Epoch and start offset, both rising. Derived from batch headers; the file saves a walk."""

    __slots__ = ("_epochs", "_log_end_offset", "_starts", "changed")

    def __init__(self, log_end_offset: Callable[[], Offset]) -> None:
        self._log_end_offset = log_end_offset
        self._epochs: list[LeaderEpoch] = []
        self._starts: list[Offset] = []
        self.changed = False
        """Whether the file is behind."""

    @property
    def latest(self) -> LeaderEpoch:
        """Epoch of the newest batch; -1 for an empty log."""
        return self._epochs[-1] if self._epochs else -1

    def entries(self) -> list[tuple[LeaderEpoch, Offset]]:
        """Return all of them, oldest first."""
        return list(zip(self._epochs, self._starts, strict=True))

    def assign(self, leader_epoch: LeaderEpoch, start_offset: Offset) -> None:
        """Note that `leader_epoch` begins with `start_offset`, unless it has begun already."""
        if leader_epoch <= self.latest:
            return
        self._epochs.append(leader_epoch)
        self._starts.append(start_offset)
        self.changed = True

    def end_offset_for(self, leader_epoch: LeaderEpoch) -> tuple[LeaderEpoch, Offset]:
        """Return the largest known epoch <= `leader_epoch` and where it ends (exclusive).

        (-1, -1) if the asker's epoch is unknown here: none yet, -1, or above the latest.
        Below the first known epoch the answer is the asker's own epoch and where the log's
        knowledge begins, as Kafka's LeaderEpochFileCache gives it.
        """
        if leader_epoch == -1 or leader_epoch > self.latest:
            return -1, -1
        above = bisect_right(self._epochs, leader_epoch)
        end = self._starts[above] if above < len(self._starts) else self._log_end_offset()
        return (self._epochs[above - 1] if above else leader_epoch), end

    def epoch_of(self, offset: Offset) -> LeaderEpoch:
        """Return the epoch in which the record at `offset` was written; -1 if unknown."""
        number = bisect_right(self._starts, offset)
        return self._epochs[number - 1] if number else -1

    def truncate_end(self, end_offset: Offset) -> None:
        """Forget epochs that begin at `end_offset` or above."""
        while self._starts and self._starts[-1] >= end_offset:
            self._starts.pop()
            self._epochs.pop()
            self.changed = True

    def truncate_start(self, log_start_offset: Offset) -> None:
        """Forget epochs that ended at or before `log_start_offset`; the first kept begins there."""
        while len(self._starts) > 1 and self._starts[1] <= log_start_offset:
            del self._starts[0], self._epochs[0]
            self.changed = True
        if self._starts and self._starts[0] < log_start_offset:
            self._starts[0] = log_start_offset
            self.changed = True

    def encode(self) -> bytes:
        """Return Kafka's file: version 0, count, one `epoch start` a line."""
        lines = [f"{epoch} {start}\n" for epoch, start in self.entries()]
        return f"0\n{len(lines)}\n{''.join(lines)}".encode()

    def load(self, data: bytes) -> bool:
        """Take over what `encode` wrote; False, with nothing taken, if it is not that."""
        lines = data.decode("ascii", "replace").split("\n")
        try:
            if lines[0] != "0" or lines[-1] != "" or int(lines[1]) != len(lines) - 3:
                return False
            pairs = [(int(a), int(b)) for a, b in (line.split(" ") for line in lines[2:-1])]
        except (ValueError, IndexError):
            return False
        epochs, starts = [e for e, _ in pairs], [s for _, s in pairs]
        if epochs != sorted(set(epochs)) or starts != sorted(set(starts)):
            return False
        self._epochs, self._starts = epochs, starts
        self.changed = False
        return True
