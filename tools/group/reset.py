"""`mesh group reset`: move the committed offsets of a group that has no members."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from mesh.client import (
    EARLIEST,
    LATEST,
    AtTime,
    Client,
    CommittedOffset,
    GroupNotFoundError,
    TopicPartition,
    commit_offsets,
    describe_group,
    fetch_offsets,
    list_offsets,
)
from tools.errors import CommandError, Exit
from tools.group.offsets import (
    Change,
    Scope,
    csv_text,
    parse_csv,
    parse_duration_ms,
    parse_scope,
    plan,
    shifted,
)
from tools.group.show import table_lines
from tools.kafka import bootstrap_option, json_option, run_with_client
from tools.places import OFFSET_MAX, parse_instant

FORMAT = 1
SETTLED = ("Empty", "Dead")
"""States in which a group's offsets are an administrator's to set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Where offsets are to be: exactly one of these is not None."""

    place: AtTime | None = None
    shift_by: int | None = None
    offset: int | None = None
    current: bool | None = None
    listed: Mapping[TopicPartition, int] | None = None


@click.command(
    epilog="""\b
Examples:
  mesh group reset loader --topic flights --to-earliest --dry-run
  mesh group reset loader --topic flights:0,1 --topic orders --to-latest
  mesh group reset loader --all-topics --to-time 2026-01-31T12:00Z
  mesh group reset loader --all-topics --by-duration 2h
  mesh group reset loader --topic flights:0 --shift-by -100
  mesh group reset loader --all-topics --to-current --export --dry-run > a.csv
  mesh group reset loader --from-file a.csv

\b
The group must have no members: they would commit over it. Offsets outside
of the log are moved to its nearest end. Files are those of
kafka-consumer-groups: topic,partition,offset in each line.
"""
)
@click.argument("group", metavar="GROUP")
@bootstrap_option
@click.option("--topic", "topics", metavar="T[:P,…]", multiple=True, help="May be repeated.")
@click.option("--all-topics", is_flag=True, help="All that the group has committed offsets of.")
@click.option("--to-earliest", is_flag=True, help="To the first record that is kept.")
@click.option("--to-latest", is_flag=True, help="To the end: what is there now is passed over.")
@click.option("--to-current", is_flag=True, help="Where they are; to export or to check them.")
@click.option("--to-time", metavar="TIME", help="To the first record since, as 2026-01-31T12:00Z.")
@click.option("--by-duration", metavar="AGE", help="As --to-time, so long ago: 90s, 2h, P1DT2H.")
@click.option("--shift-by", metavar="N", type=int, help="Forwards, or backwards if negative.")
@click.option("--to-offset", metavar="N", type=click.IntRange(0, OFFSET_MAX), help="In each.")
@click.option("--from-file", metavar="CSV", type=click.File(encoding="utf-8"), help="- is stdin.")
@click.option("--export", is_flag=True, help="Print the new offsets as such a file.")
@click.option("--dry-run", is_flag=True, help="Say what would be set and change nothing.")
@json_option
def reset(
    group: str,
    bootstrap: str,
    topics: tuple[str, ...],
    all_topics: bool,
    export: bool,
    dry_run: bool,
    as_json: bool,
    **words: object,
) -> None:
    """Set where a group goes on reading."""
    goal = _goal(words, group)
    if goal.listed is not None:
        if topics or all_topics:
            raise click.UsageError("--from-file names the partitions by itself")
    elif bool(topics) == all_topics:
        raise click.UsageError("give --topic or --all-topics")
    if export and as_json:
        raise click.UsageError("--export and --json exclude each other")
    scopes = [scope_of(text) for text in topics]

    async def work(client: Client) -> list[Change]:
        await _check_settled(client, group, dry_run)
        committed = {p: at.offset for p, at in (await fetch_offsets(client, group)).items()}
        places = await _places(client, goal, scopes, committed, group)
        wanted = await _wanted(client, goal, places, committed)
        firsts = await list_offsets(client, places, EARLIEST)
        lasts = await list_offsets(client, places, LATEST)
        ends = {place: (firsts[place].offset, lasts[place].offset) for place in places}
        changes = plan(wanted, committed, ends)
        if not dry_run:
            await commit_offsets(
                client,
                group,
                {change.partition: CommittedOffset(change.after, -1, "") for change in changes},
            )
        return changes

    changes = run_with_client(bootstrap, work)
    if as_json:
        _echo_json(group, changes, dry_run)
    elif export:
        click.echo(csv_text({change.partition: change.after for change in changes}), nl=False)
        _tell_notes(changes)
    else:
        _echo_table(group, changes, dry_run)


def _goal(words: Mapping[str, object], group: str) -> Goal:
    """Return what exactly one of the flags asks for."""
    given = {
        name: value for name, value in words.items() if value is not None and value is not False
    }
    if len(given) != 1:
        raise click.UsageError(
            "give one of --to-earliest, --to-latest, --to-current, --to-time, --by-duration, "
            "--shift-by, --to-offset and --from-file"
        )
    [(name, value)] = given.items()
    flag = f"--{name.replace('_', '-')}"
    try:
        match name, value:
            case "to_earliest", _:
                return Goal(place=EARLIEST)
            case "to_latest", _:
                return Goal(place=LATEST)
            case "to_current", _:
                return Goal(current=True)
            case "to_time", str(text):
                return Goal(place=AtTime(parse_instant(text)))
            case "by_duration", str(text):
                at_ms = time.time_ns() // 1_000_000 - parse_duration_ms(text)
                return Goal(place=AtTime(max(0, at_ms)))
            case "shift_by", int(number):
                return Goal(shift_by=number)
            case "to_offset", int(number):
                return Goal(offset=number)
            case _:
                return Goal(listed=_listed(value, group))
    except ValueError as error:
        raise CommandError(f"{flag}: {error}", status=Exit.USAGE) from error


def _listed(file: object, group: str) -> dict[TopicPartition, int]:
    """Read the file of --from-file."""
    assert hasattr(file, "read")
    found = parse_csv(file.read(), group)
    if not found:
        raise ValueError(f"it holds no offsets of group {group}")
    return found


def scope_of(text: str) -> Scope:
    """Read a --topic. Raises UsageError."""
    try:
        return parse_scope(text)
    except ValueError as error:
        raise click.UsageError(f"--topic {error}") from error


async def _check_settled(client: Client, group: str, dry_run: bool) -> None:
    """Refuse a group that has members; one that does not exist comes to be, with a word."""
    try:
        state = await describe_group(client, group)
    except GroupNotFoundError:
        click.echo(f"note: group {group} does not exist; it comes with its offsets", err=True)
        return
    if not state.members and state.state in SETTLED:
        return
    what = f"group {group} is {state.state}, with {len(state.members)} member(s)"
    if dry_run:
        click.echo(f"note: {what}; a reset would be refused", err=True)
        return
    raise CommandError(
        what,
        status=Exit.REFUSED,
        kept="its offsets are as they were",
        do="stop its consumers first; `mesh group describe` with --members names them",
    )


async def _places(
    client: Client,
    goal: Goal,
    scopes: Sequence[Scope],
    committed: Mapping[TopicPartition, int],
    group: str,
) -> list[TopicPartition]:
    """Return the partitions that are meant; each is there."""
    if goal.listed is not None:
        places = set(goal.listed)
    elif not scopes:
        places = set(committed)
        if not places:
            raise CommandError(
                f"group {group} has no committed offsets",
                status=Exit.REFUSED,
                kept="nothing was changed",
                do="name topics with --topic",
            )
    else:
        places = set()
        for scope in scopes:
            count = await client.find_topic(scope.topic)
            chosen = range(count) if scope.partitions is None else scope.partitions
            places |= {TopicPartition(scope.topic, index) for index in chosen}
    for topic, index in sorted(places):
        count = await client.find_topic(topic)
        if index >= count:
            raise CommandError(
                f"topic {topic} has partitions 0 to {count - 1}, no {index}",
                status=Exit.REFUSED,
                kept="nothing was changed",
                do="`mesh topic describe` shows them",
            )
    return sorted(places)


async def _wanted(
    client: Client,
    goal: Goal,
    places: Sequence[TopicPartition],
    committed: Mapping[TopicPartition, int],
) -> dict[TopicPartition, int]:
    """Return the offset that is asked for in each partition, wherever the log ends."""
    if goal.listed is not None:
        return dict(goal.listed)
    if goal.offset is not None:
        return dict.fromkeys(places, goal.offset)
    try:
        if goal.shift_by is not None:
            return shifted(places, committed, goal.shift_by)
        if goal.current:
            return shifted(places, committed, 0)
    except ValueError as error:
        raise CommandError(
            str(error),
            status=Exit.REFUSED,
            kept="nothing was changed",
            do="name only partitions that have one; `mesh group describe` shows them",
        ) from error
    assert goal.place is not None
    found = await list_offsets(client, places, goal.place)
    late = [place for place in places if found[place].offset < 0]
    # Nothing is so new: as Kafka's tool, to the end.
    ends = await list_offsets(client, late, LATEST) if late else {}
    return {place: (ends.get(place) or found[place]).offset for place in places}


def _echo_table(group: str, changes: Sequence[Change], dry_run: bool) -> None:
    rows = [("PARTITION", "BEFORE", "AFTER", "NOTE")]
    rows += [
        (
            str(change.partition),
            "-" if change.before is None else str(change.before),
            str(change.after),
            change.note,
        )
        for change in changes
    ]
    click.echo("\n".join(table_lines(rows, None)))
    verb = "would set" if dry_run else "set"
    click.echo(f"{verb} {len(changes):,} offset(s) of {group}")


def _tell_notes(changes: Sequence[Change]) -> None:
    for change in changes:
        if change.note:
            text = f"note: {change.partition}: {change.note}: {change.after} is taken"
            click.echo(text, err=True)


def _echo_json(group: str, changes: Sequence[Change], dry_run: bool) -> None:
    offsets = [
        {
            "topic": change.partition.topic,
            "partition": change.partition.partition,
            "before": change.before,
            "after": change.after,
            "note": change.note or None,
        }
        for change in changes
    ]
    document = {"format": FORMAT, "group": group, "dry_run": dry_run, "offsets": offsets}
    click.echo(json.dumps(document, ensure_ascii=False))
