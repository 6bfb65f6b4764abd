"""A node compacts the logs of the topics that ask for it, by itself, as each setting says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mesh.broker.resources import ResourceType
from mesh.node.compactor import Compact
from mesh.node.effects import Effect
from mesh.runtime.pace import Pace
from mesh.runtime.together import run_together
from storage.log import Log
from storage.records import Record, batches, build_batch, read_records
from tests.mesh.node.peer import Peer, records_of
from tests.mesh.node.test_settings import alter, send
from tests.storage.builders import content

HOUR_MS = 3_600_000


def a_peer(**configs: str) -> Peer:
    """Return a node with the compacted topic t, which rolls once a batch is a minute newer."""
    peer = Peer(config={name.replace("_", "."): value for name, value in configs.items()})
    peer.create("t")
    alter(peer, ResourceType.TOPIC, "t", cleanup_policy="compact", segment_ms=60_000)
    return peer


def put(peer: Peer, *pairs: tuple[str, str | None]) -> None:
    """Append one record after the other to t, each in a segment of its own."""
    for key, value in pairs:
        peer.pass_time(90_000)
        record = Record(-1, peer.now.wall_ms, key.encode(), value.encode() if value else None)
        assert send(peer, bytes(build_batch([record]))).error_code == 0


def log_of(peer: Peer) -> Log:
    return peer.node.broker.partitions["t", 0].log


def offsets(peer: Peer) -> list[int]:
    """Return the offsets of the records of t, in order."""
    found = [r for batch in batches(content(log_of(peer))) for r in read_records(batch)]
    return [record.offset for record in found]


def test_a_compacted_topic_keeps_the_last_record_of_each_key() -> None:
    """By itself, and a consumer that reads from the start sees what is left, at its offsets."""
    peer = a_peer()
    put(peer, *[(f"k{number % 3}", f"v{number}") for number in range(20)])
    peer.pass_time(120_000)
    assert offsets(peer) == [16, 17, 18, 19]  # The last one is not closed.
    assert peer.fetch_values("t", offset=16) == [b"v16", b"v17", b"v18", b"v19"]
    assert peer.node.meter.compactions >= 1
    assert peer.node.meter.compaction_bytes_in > peer.node.meter.compaction_bytes_out > 0


def test_other_topics_are_left_alone() -> None:
    """Only cleanup.policy compact asks for it."""
    peer = a_peer()
    alter(peer, ResourceType.TOPIC, "t", cleanup_policy="delete")
    put(peer, *[("k", str(number)) for number in range(8)])
    peer.pass_time(120_000)
    assert offsets(peer) == list(range(8))


def test_how_far_a_log_is_compacted_outlives_the_node() -> None:
    """Kafka's cleaner-offset-checkpoint; without it the next start would do all anew."""
    peer = a_peer()
    put(peer, *[("k", str(number)) for number in range(8)])
    peer.pass_time(200_000)
    end = log_of(peer).cleaned_end
    assert end > 0
    peer.node.close(bytes(16), run_together)
    peer.disk.crash()
    fresh = Peer(disk=peer.disk)
    assert log_of(fresh).cleaned_end == end
    assert offsets(fresh) == offsets(peer)


def test_min_cleanable_dirty_ratio() -> None:
    """A log is compacted once more than this share of it is new."""
    counts = []
    for ratio in ("0.2", "0.99"):
        peer = a_peer(log_cleaner_min_cleanable_ratio=ratio)
        put(peer, *[(f"k{number}", "v") for number in range(10)])
        peer.pass_time(120_000)
        runs = peer.node.meter.compactions
        put(peer, *[(f"k{number}", "w") for number in range(10)])
        peer.pass_time(120_000)
        counts.append(peer.node.meter.compactions - runs)
    assert counts[0] > counts[1] == 0


def test_min_compaction_lag_ms() -> None:
    """What is younger stays as it is."""
    peer = a_peer()
    alter(peer, ResourceType.TOPIC, "t", min_compaction_lag_ms=HOUR_MS)
    put(peer, *[("k", str(number)) for number in range(8)])
    peer.pass_time(120_000)
    assert offsets(peer) == list(range(8))
    peer.pass_time(HOUR_MS)
    assert offsets(peer) == [6, 7]


def test_max_compaction_lag_ms() -> None:
    """What is older is compacted, however little of the log it is; and segments roll for it."""
    peer = a_peer()
    alter(peer, ResourceType.TOPIC, "t", min_cleanable_dirty_ratio=1, segment_ms=10 * HOUR_MS)
    put(peer, *[("k", str(number)) for number in range(8)])
    peer.pass_time(HOUR_MS)
    assert offsets(peer) == list(range(8))
    alter(peer, ResourceType.TOPIC, "t", max_compaction_lag_ms=HOUR_MS)
    put(peer, ("k", "last"))
    peer.pass_time(120_000)
    assert offsets(peer) == [7, 8]


def test_delete_retention_ms() -> None:
    """A tombstone goes with the first run that comes so long after the one that met it."""
    left = []
    for retention_ms in (HOUR_MS, 24 * HOUR_MS):
        peer = a_peer()
        alter(peer, ResourceType.TOPIC, "t", delete_retention_ms=retention_ms)
        put(peer, ("gone", "v"), ("gone", None), *[("k", str(number)) for number in range(8)])
        peer.pass_time(2 * HOUR_MS)
        put(peer, *[("k", str(number)) for number in range(8)])
        peer.pass_time(120_000)
        left.append(1 in offsets(peer))
        assert 0 not in offsets(peer)
    assert left == [False, True]


def test_log_cleaner_enable() -> None:
    """Without it every record stays."""
    peer = a_peer(log_cleaner_enable="false")
    put(peer, *[("k", str(number)) for number in range(8)])
    peer.pass_time(120_000)
    assert offsets(peer) == list(range(8))


def test_log_cleaner_backoff_ms() -> None:
    """How long after the last look the next one comes."""
    peer = a_peer(log_cleaner_backoff_ms=str(HOUR_MS))
    put(peer, *[("k", str(number)) for number in range(8)])
    assert offsets(peer) == list(range(8))
    alter(peer, ResourceType.BROKER, "", log_cleaner_backoff_ms=1_000)
    peer.pass_time(HOUR_MS)
    assert offsets(peer) == [6, 7]


def test_log_cleaner_dedupe_buffer_size() -> None:
    """With less room for keys a log takes more runs, and ends the same."""
    runs = []
    for room in ("1", "1000000"):
        peer = a_peer(log_cleaner_dedupe_buffer_size=room, log_cleaner_backoff_ms=str(HOUR_MS))
        put(peer, *[(f"k{number}", "v") for number in range(20)])
        peer.pass_time(HOUR_MS)
        assert offsets(peer) == list(range(20))
        runs.append(peer.node.meter.compactions)
    assert runs[0] > runs[1] == 1


def test_log_cleaner_io_max_bytes_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that read and wrote more sleeps until it has not; every step is told the bound."""
    seen: list[Compact] = []

    class Watching(Peer):
        def carry_out(self, effects: Sequence[Effect]) -> None:
            seen.extend(effect for effect in effects if isinstance(effect, Compact))
            super().carry_out(effects)

    peer = Watching(config={"log.cleaner.io.max.bytes.per.second": "5000"})
    peer.create("t")
    alter(peer, ResourceType.TOPIC, "t", cleanup_policy="compact", segment_ms=60_000)
    put(peer, *[("k", str(number)) for number in range(8)])
    assert {effect.bytes_per_second for effect in seen} == {5000.0}
    slept: list[float] = []
    now = [0.0]
    monkeypatch.setattr("mesh.runtime.pace.time.monotonic", lambda: now[0])
    monkeypatch.setattr("mesh.runtime.pace.time.sleep", slept.append)
    pace = Pace(5000.0)
    pace(1000)
    assert slept == [0.2]
    now[0] = 1.0
    pace(4000)
    assert slept == [0.2, 0.000_05]  # Within the bound; but others have waited long enough.
    assert records_of(content(log_of(peer)))


def test_a_topic_that_is_deleted_takes_its_run_with_it() -> None:
    """The step under way ends, and the node goes on to compact others."""
    peer = a_peer(log_cleaner_enable="false")
    put(peer, *[("k", str(number)) for number in range(8)])
    found = log_of(peer).dirt(peer.now.wall_ms, 8)
    assert found is not None
    assert found.dirty_bytes > 0
    compactor = peer.node._compactor
    config = peer.node.broker.config.with_dynamic({}, {})
    partition = peer.node.broker.partitions["t", 0]
    object.__setattr__(config, "compaction", True)
    effect = compactor.look([partition], config, peer.now)
    assert effect is not None
    partition.log.delete()
    effect.run.step()
    assert peer.node.compacted(effect, peer.now) is not None
    assert effect.run.is_done
    assert compactor.look([], config, peer.now) is None


def test_a_node_that_stops_ends_the_run_under_way() -> None:
    """It leaves what was swapped in, and begins no other."""
    peer = a_peer(log_cleaner_enable="false")
    put(peer, *[("k", str(number)) for number in range(8)])
    compactor = peer.node._compactor
    config = peer.node.broker.config
    object.__setattr__(config, "compaction", True)
    effect = compactor.look(peer.node.broker.partitions.values(), config, peer.now)
    assert effect is not None
    compactor.stop()
    effect.run.step()
    assert compactor.stepped(effect, peer.now) is None
    assert effect.run.is_done
    assert compactor.look(peer.node.broker.partitions.values(), config, peer.now) is None
    assert offsets(peer) == list(range(8))
