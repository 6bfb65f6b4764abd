"""Which log is compacted next: one at a time, the dirtiest first. Plain bookkeeping of the core."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from mesh.broker.partition import Partition
from mesh.model.config import BrokerConfig
from mesh.model.types import Now
from mesh.node.meter import Meter
from storage.compaction import KEY_MAP_BYTES_MAX, Compaction, Dirt
from storage.log import Log

log = logging.getLogger("mesh.node")

PAUSE_MS_MIN = 100
"""A look costs a fraction of a millisecond for a thousand partitions, on the thread of the loop."""


@dataclass(frozen=True, slots=True)
class Compact:
    """Effect: run a step of `run` in a thread, at this pace, then call `Node.compacted`."""

    run: Compaction
    bytes_per_second: float
    """That it may read and write, over all its steps together."""


class Compactor:
    """The one run that is under way, and when to look for another."""

    __slots__ = ("_is_stopped", "_log", "_meter", "wake_at_ms")

    def __init__(self, meter: Meter) -> None:
        """With nothing under way; look soon."""
        self._meter = meter
        self._log: Log | None = None
        self._is_stopped = False
        self.wake_at_ms = 0
        """Monotonic instant at which to call `look`."""

    def look(
        self, partitions: Iterable[Partition], config: BrokerConfig, now: Now
    ) -> Compact | None:
        """Begin to compact the dirtiest log, if one is dirty enough and none is under way."""
        self.wake_at_ms = now.monotonic_ms + max(config.compaction_pause_ms, PAUSE_MS_MIN)
        if self._log is not None or self._is_stopped or not config.compaction:
            return None
        best: tuple[float, Log, Dirt] | None = None
        for partition in partitions:
            if not partition.log.config.compact:
                continue
            dirt = partition.log.dirt(now.wall_ms, partition.last_stable_offset)
            if dirt is None or not dirt.dirty_bytes:
                continue
            is_due = dirt.ratio > partition.log.config.dirty_ratio_min or dirt.overdue_ms > 0
            if is_due and (best is None or dirt.ratio > best[0]):
                best = dirt.ratio, partition.log, dirt
        if best is None:
            return None
        _, self._log, dirt = best
        room = min(config.compaction_key_bytes, KEY_MAP_BYTES_MAX)
        run = self._log.begin_compaction(dirt, now.wall_ms, key_map_bytes=room)
        return Compact(run, config.compaction_bytes_per_second)

    def stepped(self, effect: Compact, now: Now) -> Compact | None:
        """Put in place what a step has made; return the next step of the run, if there is one."""
        run, compacted = effect.run, self._log
        assert compacted is not None, "a step belongs to the run that is under way"
        compacted.swap(run)
        if not run.is_done:
            return effect
        self._log = None
        meter = self._meter
        meter.compactions += 1
        meter.compaction_bytes_in += run.bytes_read
        meter.compaction_bytes_out += run.bytes_written
        if run.error is None:
            self.wake_at_ms = now.monotonic_ms  # Others may be dirty, or this one again.
            return None
        meter.compaction_failures += 1
        text = f"{compacted.name} could not be compacted: {run.error}"
        log.warning("%s", text)
        meter.tape.add(now.wall_ms, "compaction_failed", text)
        return None

    def stop(self) -> None:
        """End the run that is under way, and begin no other."""
        self._is_stopped = True
        if self._log is not None and self._log.compaction is not None:
            self._log.compaction.cancel()
