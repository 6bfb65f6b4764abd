"""`mesh produce`: lines, JSON records or whole files into a topic."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import click
import trio

from mesh.client import Client, Codec, DeliveryError, Producer, ProducerSettings, producer
from tools.errors import CommandError, Exit
from tools.kafka import Progress, bootstrap_option, key_values, run_with_client
from tools.records import NewRecord, parse_json, parse_line, unescape

STDIN = 0
READ_BYTES = 1 << 20
RECORD_BYTES_MAX = 32 << 20
"""A longer line, or a longer file in raw, is refused rather than gathered without bound."""
FLUSH_S_MAX = 5
"""How long an interrupted command waits for what it has taken in."""
ACKS = {"all": -1, "1": 1, "0": 0}


@dataclass(frozen=True, slots=True)
class Additions:
    """What flags add to every record."""

    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    partition: int | None
    null: bytes | None


@click.command(
    epilog="""\b
Examples:
  echo hello | mesh produce greetings
  mesh produce flights --key-separator '\\t' --codec zstd < flights.tsv
  mesh produce pictures --format raw --header type=png a.png b.png
  mesh consume flights --format json --exit-at-end | mesh produce copy --format json
"""
)
@click.argument("topic")
@click.argument(
    "files", nargs=-1, type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True)
)
@bootstrap_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["lines", "json", "raw"]),
    default="lines",
    show_default=True,
    help="A record per line; per line of JSON, as `mesh consume` writes it; per file.",
)
@click.option("--key-separator", metavar="TEXT", help="lines: what ends the key. [no keys]")
@click.option("--key", metavar="TEXT", help="Key of records that have none of their own.")
@click.option("--header", "headers", metavar="K=V", multiple=True, help="On every record.")
@click.option("--null", metavar="TEXT", help="lines: a value that is this text becomes null.")
@click.option("--partition", metavar="N", type=click.IntRange(0), help="[by the key, as Java does]")
@click.option(
    "--codec",
    type=click.Choice([codec.name.lower() for codec in Codec]),
    default="none",
    show_default=True,
)
@click.option("--acks", type=click.Choice(list(ACKS)), default="all", show_default=True)
@click.option(
    "--linger-ms", metavar="N", type=click.IntRange(0, 60_000), default=5, show_default=True
)
def produce(
    topic: str,
    files: tuple[str, ...],
    bootstrap: str,
    format_name: str,
    key_separator: str | None,
    key: str | None,
    headers: tuple[str, ...],
    null: str | None,
    partition: int | None,
    codec: str,
    acks: str,
    linger_ms: int,
) -> None:
    """Write records from stdin or files.

    With --acks all each is written once and in order, whatever fails meanwhile; a record whose
    fate stays unknown ends the command with an error that says so.
    """
    if key_separator is not None and (format_name != "lines" or not key_separator):
        raise click.UsageError("--key-separator needs --format lines, and some text")
    separator = None if key_separator is None else unescape(key_separator)
    parse = _parser(format_name, separator)
    pairs = key_values(headers, "--header")
    additions = Additions(
        None if key is None else key.encode("utf-8", "surrogateescape"),
        tuple((name, value.encode("utf-8", "surrogateescape")) for name, value in pairs.items()),
        partition,
        None if null is None else unescape(null),
    )
    settings = ProducerSettings(
        acks=ACKS[acks], codec=Codec[codec.upper()], linger_ms=linger_ms, buffer_bytes_max=64 << 20
    )
    progress = Progress("sent")

    async def work(client: Client) -> None:
        await client.find_topic(topic, create=True)
        async with producer(client, settings) as sink:
            try:
                for name in files or ("-",):
                    await _send_file(sink, topic, name, parse, additions, progress)
                await sink.flush()
            except DeliveryError as error:
                raise _undelivered(error, sink) from error
            except trio.Cancelled:
                await _finish_interrupted(sink)
                raise

    try:
        run_with_client(bootstrap, work)
    finally:
        progress.close()


Parser = Callable[[bytes], NewRecord]


def _parser(format_name: str, separator: bytes | None) -> Parser | None:
    """Return what makes a record of a line; None where a whole file is one."""
    match format_name:
        case "lines":
            return lambda line: parse_line(line, separator)
        case "json":
            return parse_json
        case _:
            return None


async def _send_file(
    sink: Producer,
    topic: str,
    name: str,
    parse: Parser | None,
    additions: Additions,
    progress: Progress,
) -> None:
    shown = "stdin" if name == "-" else name
    file = STDIN if name == "-" else os.open(name, os.O_RDONLY)
    try:
        if parse is None:
            await _send(
                sink, topic, NewRecord(None, await _whole(file, shown)), additions, progress
            )
            return
        lines = _Lines(file, shown)
        while batch := await lines.more():
            for number, line in batch:
                try:
                    record = parse(line)
                except ValueError as error:
                    await sink.flush()
                    raise CommandError(
                        f"line {number} of {shown} {error}",
                        status=Exit.USAGE,
                        kept=f"the {sink.delivered_count:,} record(s) before it were written",
                    ) from error
                await _send(sink, topic, record, additions, progress)
            if sink.failed_count:
                await sink.flush()  # Raises what went wrong, before more is read in vain.
    finally:
        if file != STDIN:
            os.close(file)


async def _send(
    sink: Producer, topic: str, record: NewRecord, additions: Additions, progress: Progress
) -> None:
    if additions.null is not None and record.value == additions.null:
        record = replace(record, value=None)
    await sink.send(
        topic,
        record.value,
        key=additions.key if record.key is None else record.key,
        headers=[*record.headers, *additions.headers],
        partition=additions.partition,
        timestamp_ms=record.timestamp_ms,
    )
    progress.add(1, len(record.value or b"") + len(record.key or b""))


async def _read(file: int) -> bytes:
    # Abandoned when cancelled: nobody can take a read of a terminal back.
    return await trio.to_thread.run_sync(os.read, file, READ_BYTES, abandon_on_cancel=True)


class _Lines:
    """Cuts a file into numbered lines as they arrive, so that a typed one is sent at once."""

    def __init__(self, file: int, shown: str) -> None:
        self._file = file
        self._shown = shown
        self._rest = b""
        self._count = 0

    async def more(self) -> list[tuple[int, bytes]]:
        """Return some lines without their newlines; the last may lack its own; none at the end."""
        lines: list[bytes] = []
        while not lines:
            data = await _read(self._file)
            *lines, self._rest = (self._rest + data).split(b"\n")
            if len(self._rest) > RECORD_BYTES_MAX:
                raise _too_long(f"a line of {self._shown}")
            if not data:
                lines, self._rest = [self._rest] if self._rest else [], b""
                break
        first = self._count + 1
        self._count += len(lines)
        return list(enumerate(lines, first))


async def _whole(file: int, shown: str) -> bytes:
    content = bytearray()
    while data := await _read(file):
        content += data
        if len(content) > RECORD_BYTES_MAX:
            raise _too_long(shown)
    return bytes(content)


def _too_long(what: str) -> CommandError:
    return CommandError(
        f"{what} is longer than {RECORD_BYTES_MAX >> 20} MiB, too long for a record",
        status=Exit.USAGE,
        kept="what came before it was written",
    )


async def _finish_interrupted(sink: Producer) -> None:
    """Give what was taken in a little time, and say what stays uncertain."""
    with trio.CancelScope(deadline=trio.current_time() + FLUSH_S_MAX, shield=True):
        try:
            await sink.flush()
        except DeliveryError:
            pass  # Counted below.
    if sink.buffered_bytes or sink.failed_count:
        click.echo(
            f"note: interrupted; {sink.delivered_count:,} record(s) are written for certain, "
            "later ones perhaps",
            err=True,
        )


def _undelivered(error: DeliveryError, sink: Producer) -> CommandError:
    return CommandError(
        f"{error.message} ({error.code.name})",
        status=Exit.REFUSED,
        kept=f"{sink.delivered_count:,} record(s) were written",
    )
