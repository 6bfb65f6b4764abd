"""`python -m tests.interop.members`: tell stories of group members to a broker of either kind."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.interop.flights.rows import read_rows
from tests.interop.members.brokers import BROKERS, broker
from tests.interop.members.clients import CLIENTS
from tests.interop.members.stories import STORIES
from tests.interop.members.story import Outcome, StoryError
from tests.interop.members.tell import tell


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="members", description=__doc__)
    parser.add_argument("--broker", choices=BROKERS, default="mesh")
    parser.add_argument("--story", choices=list(STORIES), default="three")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--turn-ms", type=int, default=60, help="pause after each 50 rows")
    parser.add_argument("--clients", default=",".join(CLIENTS), help="comma-separated")
    parser.add_argument("--protocols", help="only these, comma-separated")
    parser.add_argument("--verbose", action="store_true", help="print what happened, but for rows")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Tell them; return 0 if all was well, 1 if not."""
    wanted = _options(arguments)
    rows, status = list(read_rows(wanted.rows)), 0
    with broker(wanted.broker) as running:
        for client in (CLIENTS[name] for name in wanted.clients.split(",")):
            if (reason := client.missing()) is not None:
                print(f"skipped   {client.name}: {reason}", flush=True)
                continue
            for protocol in client.protocols:
                if wanted.protocols and protocol not in wanted.protocols.split(","):
                    continue
                word = f"{wanted.story} {client.name} {protocol}"
                try:
                    outcome = tell(
                        running, wanted.story, client.name, protocol, rows, wanted.turn_ms
                    )
                except StoryError as error:
                    print(f"stuck     {word}: {error}", flush=True)
                    status = 1
                    continue
                status |= bool(outcome.anomalies)
                print(
                    f"{'wrong' if outcome.anomalies else 'well':<9} {word:<45}"
                    f" {outcome.row_count:>8,} rows, {outcome.repeated_count:>6,} again,"
                    f" {outcome.taken_s:5.1f} s",
                    flush=True,
                )
                for line in outcome.anomalies[:20]:
                    print(f"          {line}", flush=True)
                if wanted.verbose:
                    _print(outcome)
    return status


def _print(outcome: Outcome) -> None:
    told = [(e.at_us, name, e) for name, events in outcome.histories.items() for e in events]
    for _, name, event in sorted(told, key=lambda it: it[:2]):
        if type(event).__name__ not in {"Rows", "Committing", "Committed"}:
            print(f"          {name} {event}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
