"""What the commands that talk Kafka share: where to connect, how to stop, how to fail."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import trio

from mesh.client import (
    CannotConnectError,
    Client,
    ClientError,
    ClientSettings,
    ConnectionLostError,
    DeliveryError,
    GroupNotEmptyError,
    GroupNotFoundError,
    GroupsUnservedError,
    UnknownTopicError,
    connect,
    parse_bootstrap,
)
from mesh.model.errors import KafkaError
from tools.errors import CommandError, Exit

T = TypeVar("T")

PROGRESS_S = 0.2

bootstrap_option = click.option(
    "--bootstrap",
    metavar="HOST:PORT[,…]",
    default="127.0.0.1:9092",
    envvar="MESH_BOOTSTRAP",
    show_default=True,
    help="Any broker of the cluster.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


def run_with_client(bootstrap: str, work: Callable[[Client], Awaitable[T]]) -> T:
    """Connect, run `work` and return what it returns; Ctrl-C and SIGTERM cancel it.

    Raises:
        CommandError: whatever the client or the broker objects to.
        click.exceptions.Exit: it was interrupted, and has cleaned up; or nobody reads its output.
    """
    try:
        addresses = parse_bootstrap(bootstrap)
    except ValueError as error:
        raise CommandError(
            f"--bootstrap: {error}", status=Exit.USAGE, do="write it as in 127.0.0.1:9092"
        ) from error

    async def connected() -> T:
        async with connect(addresses, ClientSettings(client_id="mesh-cli")) as client:
            return await work(client)

    try:
        return trio.run(_interruptible, connected)
    except (KafkaError, ClientError) as error:
        raise explain(error) from error
    except BrokenPipeError:
        # click would make it status 1, as it would print a newline for KeyboardInterrupt.
        raise click.exceptions.Exit(Exit.BROKEN_PIPE) from None


async def _interruptible(work: Callable[[], Awaitable[T]]) -> T:
    """Run work; a signal cancels it, so that it can clean up, and ends the command."""
    scope = trio.CancelScope()
    results: list[T] = []
    failure: Exception | None = None

    async def watch(task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                scope.cancel()

    async with trio.open_nursery() as nursery:
        await nursery.start(watch)
        with scope:
            try:
                results.append(await work())
            except (KafkaError, ClientError, CommandError, BrokenPipeError) as error:
                failure = error  # Raised below, where no nursery wraps it.
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not results:
        raise click.exceptions.Exit(Exit.INTERRUPTED)
    return results[0]


def explain(error: KafkaError | ClientError) -> CommandError:
    """Return what an error of the client means for whoever typed the command."""
    match error:
        case CannotConnectError():
            return CommandError(
                str(error),
                status=Exit.CONNECT,
                kept="nothing was changed",
                do="start one with `mesh node`, or name another with --bootstrap HOST:PORT",
            )
        case ConnectionLostError():
            return CommandError(
                str(error),
                status=Exit.CONNECT,
                kept="whether the last request was carried out is not known",
                do="look with `mesh topic describe`, then run the command again",
            )
        case UnknownTopicError():
            return CommandError(
                error.message or str(error),
                status=Exit.REFUSED,
                do="`mesh topic list` names all topics, `mesh topic create` makes one",
            )
        case GroupNotFoundError():
            return CommandError(
                f"there is no group {error.group}",
                status=Exit.REFUSED,
                kept="nothing was changed",
                do="`mesh group list` names all groups",
            )
        case GroupNotEmptyError():
            return CommandError(
                f"group {error.group} has members",
                status=Exit.REFUSED,
                kept="the group and its offsets are as they were",
                do="stop its consumers first; `mesh group describe` with --members names them",
            )
        case GroupsUnservedError():
            return CommandError(
                f"no node coordinates {error.message} at the moment ({error.code.name})",
                status=Exit.REFUSED,
                kept="nothing was changed",
                do="try again in a moment; `mesh status` tells whether the mesh is well",
            )
        case DeliveryError():
            again = "it may be there twice if you send it again" if error.maybe_written else None
            return CommandError(
                f"{error.message} ({error.code.name})", status=Exit.REFUSED, kept=again
            )
        case KafkaError():
            return CommandError(f"the broker refused: {error}", status=Exit.REFUSED)
        case _:
            return CommandError(str(error), status=Exit.REFUSED)


def key_values(assignments: tuple[str, ...], flag: str) -> dict[str, str]:
    """Return `NAME=VALUE` arguments as a dictionary; the last one of a name wins."""
    pairs: dict[str, str] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{flag} {text!r} is not NAME=VALUE")
        pairs[name] = value
    return pairs


class Progress:
    """A line on stderr that counts records; shown only on a terminal that shows nothing else."""

    def __init__(self, verb: str, *, shown: bool | None = None) -> None:
        self.records = 0
        self.bytes = 0
        self._verb = verb
        self._shown = sys.stderr.isatty() if shown is None else shown
        self._started = time.monotonic()
        self._drawn_at = self._started

    def add(self, records: int, size: int) -> None:
        """Count, and redraw now and then."""
        self.records += records
        self.bytes += size
        if self._shown and time.monotonic() >= self._drawn_at + PROGRESS_S:
            self._drawn_at = time.monotonic()
            click.echo(f"\r\x1b[K{self.line()}", err=True, nl=False)

    def line(self) -> str:
        """Return the counts so far and the mean rate."""
        seconds = max(time.monotonic() - self._started, 1e-3)
        return (
            f"{self._verb} {self.records:,} records, {self.bytes / 1e6:,.1f} MB, "
            f"{self.records / seconds:,.0f} records/s, {self.bytes / 1e6 / seconds:,.1f} MB/s"
        )

    def close(self) -> None:
        """Leave the last line as it stands."""
        if self._shown:
            click.echo(f"\r\x1b[K{self.line()}", err=True)
