"""20,000 flights through every client; `python -m tests.interop.flights` does all of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import pytest

from tests.interop.flights.killed_leaders import Plan, fly, three_nodes
from tests.interop.flights.ledger import DifferenceError, Ledger, Record, compare
from tests.interop.flights.producer import CODECS, Flight, create_topic
from tests.interop.flights.readers import READERS, ReaderError, run_client
from tests.interop.flights.rows import KEYLESS_COUNT, ROW_COUNT, Row, read_rows
from tests.interop.flights.writers import WRITERS, shares
from tests.interop.node import MeshNode, mesh_node_process

ROWS = 20_000


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    """The first flights of the year."""
    return list(read_rows(ROWS))


@pytest.fixture(scope="session")
def ledgers(mesh_node: MeshNode, rows: list[Row]) -> dict[str, Ledger]:
    """One topic per codec, produced to the session's node."""
    flown = {}
    for codec in CODECS:
        topic = f"flights-{codec}"
        create_topic(mesh_node.bootstrap, topic)
        flight = Flight(mesh_node.bootstrap, topic, rows, codec)
        flight.produce()
        flown[topic] = flight.ledger
    return flown


@pytest.mark.parametrize("client", READERS)
def test_every_client_reads_what_was_acknowledged(
    client: str, mesh_node: MeshNode, ledgers: dict[str, Ledger]
) -> None:
    """Each client gets every byte, key and offset of every codec as they were acknowledged."""
    reader = READERS[client]
    if (reason := reader.missing()) is not None:
        pytest.skip(reason)
    ends = {topic: ledger.ends() for topic, ledger in ledgers.items()}
    assert ROWS * len(CODECS) == compare(ledgers, reader.read(mesh_node.bootstrap, ends))


def test_every_acknowledged_row_survives_kill_9(rows: list[Row]) -> None:
    """Killed three times while producing and once after it, a node has every row exactly once."""
    with mesh_node_process() as node:
        began_at = time.monotonic()
        recoveries: list[str] = []

        def kill_and_restart() -> None:
            node.kill()
            killed_at = time.monotonic()
            node.restart()
            recoveries.append(f"{time.monotonic() - killed_at:.2f} s")

        create_topic(node.bootstrap, "flights-killed")
        flight = Flight(node.bootstrap, "flights-killed", rows, "lz4")
        flight.produce([kill_and_restart] * 4)
        print(f"back after {', '.join(recoveries)}; all in {time.monotonic() - began_at:.1f} s")
        ledgers = {"flights-killed": flight.ledger}
        ends = {"flights-killed": flight.ledger.ends()}
        read = READERS["confluent-kafka"].read(node.bootstrap, ends)
        assert (len(recoveries), compare(ledgers, read)) == (4, ROWS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "configs"),
    [("consumer", {}), ("cooperative-sticky", {"min.insync.replicas": "2"})],
)
def test_leaders_are_killed_and_no_row_is_lost(
    protocol: str, configs: dict[str, str], rows: list[Row]
) -> None:
    """Three nodes, three clients that write, a group that reads: no row lost, twice or misplaced.

    The leader of the busiest partition is killed five times meanwhile.
    """
    clients = [client.name for client in WRITERS.values() if client.missing() is None]
    plan = Plan("flights-three", clients, clients, protocol, kill_count=5, configs=configs)
    with three_nodes() as nodes:
        landing = fly(nodes, plan, rows, ["confluent-kafka"])
    assert (landing.kill_count >= 5, landing.ledger.acknowledged_count) == (True, ROWS)


def test_a_leader_is_killed_and_no_row_is_lost(rows: list[Row]) -> None:
    """The least of it: one client writes, one reads, one leader is killed."""
    plan = Plan(
        "flights-three", ["confluent-kafka"], ["confluent-kafka"], "consumer", 1, kill_every_s=1
    )
    with three_nodes() as nodes:
        assert fly(nodes, plan, rows[:5_000], []).kill_count >= 1


@pytest.mark.slow
def test_the_source_is_whole() -> None:
    """The package's file holds 336,776 flights, of which 2,512 have no tail number."""
    keys = [row.key for row in read_rows()]
    assert (len(keys), keys.count(None)) == (ROW_COUNT, KEYLESS_COUNT)


def test_a_row_has_one_canonical_form(rows: list[Row]) -> None:
    """Keys are sorted, nothing is spaced, NA is null, numbers are numbers."""
    cancelled = next(row for row in rows if b'"dep_time":null' in row.value)
    assert cancelled == Row(
        b"N18120",
        b'{"air_time":null,"arr_delay":null,"arr_time":null,"carrier":"EV","day":1,'
        b'"dep_delay":null,"dep_time":null,"dest":"RDU","distance":416,"flight":4308,"hour":16,'
        b'"minute":30,"month":1,"origin":"EWR","sched_arr_time":1815,"sched_dep_time":1630,'
        b'"tailnum":"N18120","time_hour":"2013-01-01T21:00:00Z","year":2013}',
    )


def test_all_rows_of_a_key_are_one_writers(rows: list[Row]) -> None:
    """Every row has one writer, in the order of the source, and no two writers share a key."""
    parts = shares(rows, 3)
    assert sorted(index for part in parts for index in part) == list(range(len(rows)))
    assert all(part == sorted(part) for part in parts)
    keys = [{rows[index].key for index in part} - {None} for part in parts]
    assert keys[0].isdisjoint(keys[1] | keys[2])
    assert keys[1].isdisjoint(keys[2])


def _a_ledger() -> Ledger:
    """Three rows acknowledged: two of one key on partition 0, one without a key on partition 1."""
    ledger = Ledger("t", 2, [Row(b"k", b"a"), Row(b"k", b"b"), Row(None, b"c")])
    for row_index, partition, offset in ((0, 0, 0), (1, 0, 1), (2, 1, 0)):
        ledger.acknowledge(row_index, partition, offset)
    return ledger


A, B, C = (
    Record("t", 0, 0, b"k", b"a"),
    Record("t", 0, 1, b"k", b"b"),
    Record("t", 1, 0, None, b"c"),
)


@pytest.mark.parametrize(
    "read",
    [
        pytest.param([A, C], id="missing"),
        pytest.param([A, A, B, C], id="twice"),
        pytest.param([B, A, C], id="order"),
        pytest.param([A, B, C._replace(value=b"d")], id="value"),
        pytest.param([A, B, C._replace(key=b"")], id="empty key for null"),
        pytest.param([A, B, C, C._replace(offset=1)], id="one more"),
        pytest.param([A, B, C, C._replace(partition=2)], id="partition"),
    ],
)
def test_a_difference_is_found(read: Sequence[Record]) -> None:
    """The comparison accepts the acknowledged records and nothing else."""
    ledgers = {"t": _a_ledger()}
    assert compare(ledgers, [C, A, B]) == 3
    with pytest.raises(DifferenceError):
        compare(ledgers, read)


@pytest.mark.parametrize(
    "acknowledged",
    [
        pytest.param([(0, 0, 0), (1, 0, 1)], id="one missing"),
        pytest.param([(0, 0, 0), (1, 0, 2), (2, 1, 0)], id="a hole"),
        pytest.param([(1, 0, 0), (0, 0, 1), (2, 1, 0)], id="a key's rows out of order"),
        pytest.param([(0, 0, 0), (1, 1, 0), (2, 1, 1)], id="a key on two partitions"),
        pytest.param([(0, 0, 0), (1, 0, 0), (2, 1, 0)], id="an offset twice"),
        pytest.param([(0, 0, 0), (1, 0, -1), (2, 1, 0)], id="no offset"),
    ],
)
def test_wrong_acknowledgements_are_found(acknowledged: list[tuple[int, int, int]]) -> None:
    """Holes, repeats and broken order are found before anybody reads."""

    def check(all_of_them: list[tuple[int, int, int]]) -> None:
        ledger = Ledger("t", 2, [Row(b"k", b"a"), Row(b"k", b"b"), Row(None, b"c")])
        for row_index, partition, offset in all_of_them:
            ledger.acknowledge(row_index, partition, offset)
        ledger.check()

    check([(0, 0, 0), (1, 0, 1), (2, 1, 0)])
    with pytest.raises(DifferenceError):
        check(acknowledged)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        pytest.param("print('t 0 0 x 1')", "not a record's head line", id="nonsense"),
        pytest.param("print('t 0 0 1 1\\nkv+')", "bytes too many or too few", id="lengths"),
        pytest.param("import sys; sys.exit('no broker')", "ended with 1: no broker", id="status"),
    ],
)
def test_a_client_that_fails_is_an_error(program: str, words: str) -> None:
    """An outside client that prints nonsense or ends badly is reported with its own words."""
    with pytest.raises(ReaderError, match=words):
        list(run_client([sys.executable, "-c", program]))
