"""The promise journal and the registry's shards, as a dump tells them."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from mesh.model.names import REGISTRY_TOPIC, REGISTRY_TOPIC_ID
from mesh.model.types import ReplicaId
from mesh.registry.records import (
    AlterBrokerConfig,
    ClaimNodeId,
    CreateTopic,
    DeleteTopic,
    Record,
    encode,
)
from mesh.registry.topic import Placement
from storage import Log, LogConfig, OsDisk, build_batch, read_batch_header
from storage import Record as LogRecord
from tests.tools.dump.places import (
    NOW_MS,
    TOPIC_ID,
    a_journal,
    a_partition,
    flip,
    of_kind,
    rows_of,
    values,
)
from tools.dump.rows import Row

DIRECTORY = "6cbeb2e2-9848-49d5-9001-7198be7e0def"


def state_of(rows: list[Row]) -> object:
    (summary,) = of_kind(rows, "journal")
    return summary.fields["state"]


def second_copy(path: Path) -> int:
    """Where the second copy of the first round begins."""
    return len(path.read_bytes().split(b"GPJ\n")[1]) + 4


def test_a_sound_journal(tmp_path: Path) -> None:
    """Rounds in their order, both copies each, and the promise that the last of them left."""
    a_partition(tmp_path)
    rows = rows_of(a_journal(tmp_path))
    assert state_of(rows) == "sound"
    assert values(rows, "round", "round") == [0, 1, 2, 3]
    assert set(values(rows, "round", "copies")) == {"both"}
    assert values(rows, "round", "holds") == ["everything", "changes", "changes", "changes"]
    (promise,) = of_kind(rows, "promise")
    assert (promise.fields["topic"], promise.fields["partition"]) == ("orders", 3)
    assert promise.fields["synced_end"] == 2
    assert promise.fields["leader_epoch"] == 4
    assert of_kind(rows, "problem") == []


def test_one_bad_copy_is_repaired(tmp_path: Path) -> None:
    """Either copy of a round may be bad: which, and where, is told, and nothing is damaged."""
    path = a_journal(tmp_path)
    middle = second_copy(path)
    for byte, copies, where in ((30, "second", 0), (middle + 30, "first", middle)):
        flip(path, byte)
        rows = rows_of(path)
        assert state_of(rows) == "repaired"
        assert values(rows, "round", "copies")[0] == copies
        (found,) = of_kind(rows, "problem")
        assert (found.fields["state"], found.fields["byte"]) == ("repaired", where)
        flip(path, byte)


def test_a_torn_last_round(tmp_path: Path) -> None:
    """A last round that is bad in both copies was never finished: torn, and no damage."""
    path = a_journal(tmp_path)
    sizes = values(rows_of(path), "round", "byte")
    last = sizes[-1]
    assert isinstance(last, int)
    os.truncate(path, last + 40)
    rows = rows_of(path)
    assert state_of(rows) == "torn"
    assert values(rows, "problem", "byte") == [last]
    assert values(rows, "promise", "synced_end") == [1]


def test_a_damaged_round_is_told_and_gone_past(tmp_path: Path) -> None:
    """Both copies of an older round bad: damage; what is before it counts, the rest is shown."""
    path = a_journal(tmp_path)
    first, second = (values(rows_of(path), "round", "byte")[n] for n in (1, 2))
    assert isinstance(first, int)
    assert isinstance(second, int)
    flip(path, first + 30)
    flip(path, (first + second) // 2 + 30)
    rows = rows_of(path)
    assert state_of(rows) == "damaged"
    assert ("damaged", first) in [
        (row.fields["state"], row.fields["byte"]) for row in of_kind(rows, "problem")
    ]
    assert values(rows, "round", "round") == [0, 2, 3]
    assert values(rows, "promise", "synced_end") == []


@pytest.mark.parametrize("seed", range(60))
def test_any_journal_is_survived(seed: int, tmp_path: Path) -> None:
    """Whatever stands in it, the dump ends, changes nothing and judges as the node does."""
    rng = random.Random(seed)
    path = a_journal(tmp_path)
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 2, 4))):
        at = rng.randrange(len(content))
        content[at : at + rng.choice((0, 1, 30))] = rng.randbytes(rng.choice((0, 1, 30)))
    path.write_bytes(content)
    rows = rows_of(path)
    assert path.read_bytes() == content
    is_damaged = "damaged" in values(rows, "problem", "state")
    assert is_damaged == (state_of(rows) == "damaged")


def a_shard(data: Path, records: list[Record]) -> Path:
    disk = OsDisk()
    log = Log.open(
        disk,
        str(data),
        REGISTRY_TOPIC,
        0,
        REGISTRY_TOPIC_ID,
        LogConfig(),
        clean=False,
        recovery_point=0,
        log_start_offset=0,
    )
    for record in records:
        pair = encode(record)
        batch = build_batch([LogRecord(0, NOW_MS, pair.key, pair.value)])
        log.append(memoryview(batch), read_batch_header(batch), 0, NOW_MS)
    log.close(clean=True)
    return data / f"{REGISTRY_TOPIC}-0"


def a_create(name: str, topic_id: bytes = TOPIC_ID) -> CreateTopic:
    placement = Placement(((1,), (1,)), 1, {1: ReplicaId(1, DIRECTORY).directory_id})
    return CreateTopic(name, topic_id, placement, 1, {"retention.ms": "5"})


def test_a_shard_is_shown_with_its_image(tmp_path: Path) -> None:
    """Records with kind and fields, whether each applied, and what they leave at the end."""
    path = a_shard(
        tmp_path,
        [
            ClaimNodeId(DIRECTORY, 1),
            a_create("a"),
            a_create("a", bytes(range(1, 17))),
            a_create("b", bytes(range(2, 18))),
            DeleteTopic("a", TOPIC_ID),
            AlterBrokerConfig("", {"log.retention.ms": "7"}),
        ],
    )
    rows = rows_of(path)
    assert values(rows, "registry", "record") == [
        "claim-node-id",
        "create-topic",
        "create-topic",
        "create-topic",
        "delete-topic",
        "alter-broker-config",
    ]
    refused = [None, None, "TOPIC_ALREADY_EXISTS", None, None, None]
    assert values(rows, "registry", "refused") == refused
    assert values(rows, "topic", "topic") == ["b"]
    assert values(rows, "topic", "configs") == [{"retention.ms": "5"}]
    assert values(rows, "broker_config", "configs") == [{"log.retention.ms": "7"}]
    assert values(rows, "node_id", "node_id") == [1]
    assert of_kind(rows, "problem") == []


def test_a_record_that_is_none_is_damage(tmp_path: Path) -> None:
    """Bytes of a shard that are no record are told with their offset, and the rest is replayed."""
    path = a_shard(tmp_path, [a_create("a"), a_create("b", bytes(range(1, 17)))])
    log = path / f"{0:020d}.log"
    content = log.read_bytes()
    flip(log, content.index(b"create-topic"))
    rows = rows_of(path)
    (found,) = of_kind(rows, "problem")
    assert (found.fields["state"], found.fields["offset"]) == ("damaged", 0)
    assert values(rows, "topic", "topic") == ["b"]
