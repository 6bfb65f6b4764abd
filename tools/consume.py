"""`mesh consume`: records of a topic on stdout, byte for byte; everything else on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import click
import trio

from mesh.client import (
    EARLIEST,
    LATEST,
    Assignment,
    AtOffset,
    Chunk,
    Client,
    GroupReader,
    GroupSettings,
    Place,
    Reader,
    ReaderSettings,
    Skipped,
    TopicPartition,
    group_reader,
    list_offsets,
    reader,
)
from tools.errors import CommandError, Exit
from tools.kafka import Progress, bootstrap_option, run_with_client
from tools.places import HOW, BeforeEnd, parse_place
from tools.records import TOKENS, Formatter, formatter, unescape

STDOUT = 1
WRITE_BYTES = 1 << 20
"""What is formatted before it is written, if so much has arrived."""


NEW_LINE = "\n  "


@click.command(
    epilog=f"""\b
Examples:
  mesh consume flights
  mesh consume flights --exit-at-end --format json > flights.jsonl
  mesh consume flights --from 1h --until 2026-01-31T12:00Z
  mesh consume flights --partition 2 --from -10 --count 10 --format key-value
  mesh consume flights --format '%p/%o %k: %s\\n'
  mesh consume flights --group loader

\b
A place (--from, --until) is one of:
  {NEW_LINE.join(HOW)}
Tokens of a custom --format:
  {NEW_LINE.join(TOKENS)}
"""
)
@click.argument("topic")
@bootstrap_option
@click.option(
    "--partition",
    "partitions",
    metavar="N",
    type=click.IntRange(0),
    multiple=True,
    help="May be repeated. [all]",
)
@click.option(
    "--group",
    metavar="NAME",
    help="Share the topic with the other members; go on from what the group has committed.",
)
@click.option("--from", "start", metavar="PLACE", default="earliest", show_default=True)
@click.option("--until", "end", metavar="PLACE", help="Stop before it, in each partition.")
@click.option("--count", metavar="N", type=click.IntRange(0), help="Stop after so many records.")
@click.option("--exit-at-end", is_flag=True, help="Stop at what is the end now; else follow.")
@click.option(
    "--format",
    "format_name",
    metavar="FORMAT",
    default="value",
    show_default=True,
    help="value, key-value, json, raw (no newlines), or a pattern with % tokens.",
)
@click.option("--key-separator", metavar="TEXT", default="\\t", show_default=True)
@click.option("--null", metavar="TEXT", default="", help="Stands for a null key or value.")
@click.option("--base64", "all_base64", is_flag=True, help="json: not only where it must be.")
@click.option("--committed", is_flag=True, help="Leave out open and aborted transactions.")
def consume(
    topic: str,
    bootstrap: str,
    partitions: tuple[int, ...],
    group: str | None,
    start: str,
    end: str | None,
    count: int | None,
    exit_at_end: bool,
    format_name: str,
    key_separator: str,
    null: str,
    all_base64: bool,
    committed: bool,
) -> None:
    """Print records as they come.

    In order within each partition, and until Ctrl-C unless an end is given.

    With --group, --from is for partitions that the group never committed. What was printed is
    committed every 5 s and at the end; the group is one of KIP-848.
    """
    write = _formatter(format_name, key_separator, null, all_base64)
    first = _place(start, "--from")
    last = [] if end is None else [_place(end, "--until")]
    if exit_at_end:
        last.append(LATEST)
    # Two programs drawing on one terminal help nobody.
    progress = Progress("read", shown=sys.stderr.isatty() and not sys.stdout.isatty())

    if group is not None and partitions:
        raise click.UsageError("--group gives out the partitions itself; leave out --partition")

    async def as_member(client: Client) -> None:
        assert group is not None
        await client.find_topic(topic)
        reading = ReaderSettings(reset="nearest", committed_only=committed)
        settings = GroupSettings(
            start=_fixed(first, "--from"),
            ends=tuple(_fixed(place, "--until") for place in last),
            reading=reading,
        )
        async with group_reader(client, group, [topic], settings, on_skip=_tell_skip) as source:
            await _print(source, write, count, progress, source.give_back)

    async def work(client: Client) -> None:
        if group is not None:
            await as_member(client)
            return
        chosen = partitions or range(await client.find_topic(topic))
        places = [TopicPartition(topic, index) for index in dict.fromkeys(chosen)]
        assignments = await _assign(client, places, first, last)
        settings = ReaderSettings(reset="nearest", committed_only=committed)
        async with reader(client, assignments, settings, on_skip=_tell_skip) as source:
            await _print(source, write, count, progress)

    try:
        run_with_client(bootstrap, work)
    finally:
        progress.close()


def _formatter(name: str, key_separator: str, null: str, all_base64: bool) -> Formatter:
    try:
        return formatter(name, unescape(key_separator), unescape(null), all_base64=all_base64)
    except ValueError as error:
        raise CommandError(f"--format: {error}", status=Exit.USAGE) from error


def _fixed(place: Place | BeforeEnd, flag: str) -> Place:
    if isinstance(place, BeforeEnd):
        raise CommandError(
            f"{flag} -{place.count} needs a partition to count in, and --group gives them out",
            status=Exit.USAGE,
            do="leave out --group, or name an offset, a time or an age",
        )
    return place


def _place(text: str, flag: str) -> Place | BeforeEnd:
    try:
        return parse_place(text, time.time_ns() // 1_000_000)
    except ValueError as error:
        raise CommandError(f"{flag}: {error}", status=Exit.USAGE) from error


async def _assign(
    client: Client,
    partitions: list[TopicPartition],
    start: Place | BeforeEnd,
    ends: list[Place | BeforeEnd],
) -> list[Assignment]:
    """Give each partition its places; those counted from the end need to know it."""
    relative = any(isinstance(place, BeforeEnd) for place in (start, *ends))
    for topic, partition in partitions:
        count = await client.find_topic(topic)
        if partition >= count:
            raise CommandError(
                f"topic {topic} has partitions 0 to {count - 1}, no {partition}",
                status=Exit.REFUSED,
                do="`mesh topic describe` shows them",
            )
    firsts = await list_offsets(client, partitions, EARLIEST) if relative else {}
    lasts = await list_offsets(client, partitions, LATEST) if relative else {}

    def fixed(place: Place | BeforeEnd, partition: TopicPartition) -> Place:
        if not isinstance(place, BeforeEnd):
            return place
        wanted = lasts[partition].offset - place.count
        return AtOffset(max(firsts[partition].offset, wanted))

    return [
        Assignment(item, fixed(start, item), tuple(fixed(end, item) for end in ends))
        for item in partitions
    ]


async def _print(
    source: Reader | GroupReader,
    write: Formatter,
    count: int | None,
    progress: Progress,
    give_back: Callable[[TopicPartition, int], None] | None = None,
) -> None:
    left = sys.maxsize if count is None else count
    while left > 0 and (chunk := await source.next_chunk()) is not None:
        data = bytearray()
        written = 0
        following: Chunk | None = chunk
        while following is not None:
            records = following.records[: left - written]
            if give_back is not None and len(records) < len(following.records):
                give_back(following.partition, following.records[len(records)].offset)
            for record in records:
                data += write(following.partition, record)
            written += len(records)
            full = written >= left or len(data) >= WRITE_BYTES
            following = None if full else source.ready_chunk()
        left -= written
        # In a thread, because a pipe that nobody empties must not keep Ctrl-C from working.
        await trio.to_thread.run_sync(_write_all, data, abandon_on_cancel=True)
        progress.add(written, len(data))


def _write_all(data: bytearray) -> None:
    """Write past Python's buffer, so that nothing is left to flush when we are interrupted."""
    view = memoryview(data)
    while view:
        view = view[os.write(STDOUT, view) :]


def _tell_skip(skip: Skipped) -> None:
    click.echo(
        f"note: {skip.partition} has no offset {skip.wanted}; reading goes on from {skip.offset}",
        err=True,
    )
