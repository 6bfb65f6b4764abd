"""`python -m tests.interop.flights`: all rows, codecs and clients, `kill -9`, and groups.

With `--nodes 3`: through three nodes, whose leaders are killed while clients write and read.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from confluent_kafka import KafkaException

from tests.interop.flights import killed_leaders
from tests.interop.flights.ledger import DifferenceError, Ledger, compare
from tests.interop.flights.producer import CODECS, Flight, create_topic
from tests.interop.flights.readers import READERS, Reader, ReaderError
from tests.interop.flights.rows import ROW_COUNT, Row, read_rows
from tests.interop.flights.writers import WRITERS
from tests.interop.members.brokers import broker
from tests.interop.members.story import StoryError
from tests.interop.members.tell import tell
from tests.interop.node import MeshNode, mesh_node_process
from tests.interop.process import BrokerError
from tests.interop.toolchain import BuildError

KILL_COUNT = 4
GROUP_PROTOCOLS = ("cooperative-sticky", "consumer")
# A member rests so long after 50 rows: five of them take all rows in half a minute.
GROUP_TURN_MS = 20
RECOVERY_S_MAX = 2.0
ERRORS = (DifferenceError, StoryError, ReaderError, BrokerError, BuildError, KafkaException)


def _choices(text: str, valid: Sequence[str]) -> list[str]:
    chosen = text.split(",")
    for name in chosen:
        if name not in valid:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(valid)}")
    return chosen


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; ends the process with status 2 if it is wrong."""
    parser = argparse.ArgumentParser(prog="flights", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROW_COUNT, help="how many, from the first")
    parser.add_argument(
        "--bootstrap",
        help="a running broker with none of the flights topics; without it a node"
        " of ours is started, and killed",
    )
    parser.add_argument("--codecs", type=lambda text: _choices(text, CODECS), default=CODECS)
    parser.add_argument(
        "--clients", type=lambda text: _choices(text, list(READERS)), default=list(READERS)
    )
    parser.add_argument(
        "--groups",
        type=lambda text: [] if text == "none" else _choices(text, GROUP_PROTOCOLS),
        default=list(GROUP_PROTOCOLS),
        help="protocols of the groups of five that read them, or none",
    )
    parser.add_argument(
        "--nodes", type=int, choices=(1, killed_leaders.NODE_COUNT), default=1, help="1 or 3"
    )
    parser.add_argument(
        "--kills", type=int, default=6, help="with --nodes 3: leaders to kill, one in 5 s"
    )
    parsed = parser.parse_args(arguments)
    if not 1 <= parsed.rows <= ROW_COUNT:
        parser.error(f"--rows is 1 to {ROW_COUNT}")
    return parsed


def _produce(
    bootstrap: str, codec: str, rows: Sequence[Row], interruptions: Sequence[Callable[[], None]]
) -> Ledger:
    topic = f"flights-killed-{codec}" if interruptions else f"flights-{codec}"
    create_topic(bootstrap, topic)
    flight = Flight(bootstrap, topic, rows, codec)
    taken_s = flight.produce(interruptions)
    print(f"produced  {topic:<20} {len(rows):>9,} rows in {taken_s:6.2f} s", flush=True)
    return flight.ledger


def _read(bootstrap: str, reader: Reader, ledgers: dict[str, Ledger]) -> None:
    if (reason := reader.missing()) is not None:
        print(f"skipped   {reader.name}: {reason}", flush=True)
        return
    began_at = time.monotonic()
    ends = {topic: ledger.ends() for topic, ledger in ledgers.items()}
    count = compare(ledgers, reader.read(bootstrap, ends))
    taken_s = time.monotonic() - began_at
    print(
        f"read      {reader.name:<20} {count:>9,} rows in {taken_s:6.2f} s:"
        " every byte, key and offset as acknowledged",
        flush=True,
    )


def _killer(node: MeshNode, recoveries_s: list[float]) -> Callable[[], None]:
    def kill_and_restart() -> None:
        node.kill()
        killed_at = time.monotonic()
        node.restart()
        recoveries_s.append(time.monotonic() - killed_at)
        print(f"kill -9   answered again after {recoveries_s[-1]:.2f} s", flush=True)

    return kill_and_restart


def fly(wanted: argparse.Namespace, bootstrap: str, node: MeshNode | None) -> None:
    """Do the whole against one broker, and kill it if it is a node of ours.

    Raises:
        DifferenceError: something is not as it was acknowledged, or a recovery took too long.
    """
    rows = list(read_rows(wanted.rows))
    print(f"{len(rows):,} rows, {sum(row.key is None for row in rows):,} without a key", flush=True)
    readers = [READERS[name] for name in wanted.clients]
    ledgers = {f"flights-{codec}": _produce(bootstrap, codec, rows, ()) for codec in wanted.codecs}
    for reader in readers:
        _read(bootstrap, reader, ledgers)
    if node is None:
        print("kill -9   left out: the broker is not ours to kill")
        return
    recoveries_s: list[float] = []
    kills = [_killer(node, recoveries_s)] * KILL_COUNT
    killed = _produce(bootstrap, wanted.codecs[0], rows, kills)
    # The node has come back with the earlier topics, too.
    for reader in readers:
        _read(bootstrap, reader, {**ledgers, killed.topic: killed})
    if max(recoveries_s) > RECOVERY_S_MAX:
        raise DifferenceError(f"a recovery took {max(recoveries_s):.2f} s, not {RECOVERY_S_MAX} s")


def read_as_groups(protocols: Sequence[str], rows: Sequence[Row]) -> None:
    """Have groups of five read them while members and the node come and go.

    Raises:
        DifferenceError: a row was lost, or a commit went back.
        StoryError: the group stands still.
    """
    for protocol in protocols:
        with broker("mesh") as node:
            outcome = tell(node, "five", "confluent-kafka", protocol, rows, GROUP_TURN_MS)
        if outcome.anomalies:
            raise DifferenceError("\n".join(outcome.anomalies[:20]))
        print(
            f"group     {protocol:<20} {outcome.row_count:>9,} rows in {outcome.taken_s:6.2f} s:"
            f" none lost, {outcome.repeated_count:,} processed again, no commit went back",
            flush=True,
        )


@contextlib.contextmanager
def _broker(bootstrap: str | None) -> Iterator[tuple[str, MeshNode | None]]:
    if bootstrap is not None:
        yield bootstrap, None
        return
    with mesh_node_process() as node:
        yield node.bootstrap, node


def fly_through_three(wanted: argparse.Namespace) -> None:
    """Fly twice over three nodes: with a new group, and with an old one and two in sync.

    Raises:
        DifferenceError: see `killed_leaders.fly`.
    """
    rows = list(read_rows(wanted.rows))
    here = [client for client in WRITERS.values() if client.missing() is None]
    writers = [client.name for client in here]
    readers = [name for name in wanted.clients if READERS[name].missing() is None]
    runs: tuple[tuple[str, str, dict[str, str]], ...] = (
        ("flights-three", "consumer", {}),
        ("flights-three-two-in-sync", "cooperative-sticky", {"min.insync.replicas": "2"}),
    )
    print(f"{len(rows):,} rows by {', '.join(writers)} at once, read along by a group of the same")
    with killed_leaders.three_nodes() as nodes:
        for topic, protocol, configs in runs:
            plan = killed_leaders.Plan(
                topic, writers, writers, protocol, wanted.kills, configs=configs
            )
            killed_leaders.fly(nodes, plan, rows, readers, partial(print, flush=True))


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status: 0 all equal, 1 not, 2 wrong options."""
    wanted = options(arguments)
    try:
        if wanted.nodes > 1:
            fly_through_three(wanted)
            return 0
        with _broker(wanted.bootstrap) as (bootstrap, node):
            fly(wanted, bootstrap, node)
        if node is not None:
            read_as_groups(wanted.groups, list(read_rows(wanted.rows)))
    except ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
