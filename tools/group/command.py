"""`mesh group`: list, describe, reset and delete consumer groups of any Kafka cluster."""

from __future__ import annotations

import json
import shutil
import sys
from collections import deque
from collections.abc import Mapping, Sequence

import click
import trio

from mesh.client import (
    Client,
    GroupListing,
    GroupState,
    GroupsUnservedError,
    TopicPartition,
    delete_group,
    delete_offsets,
    describe_group,
    fetch_offsets,
    list_groups,
    remove_members,
)
from mesh.client.groups import CLASSIC
from mesh.model.errors import ErrorCode, KafkaError
from tools.errors import CommandError, Exit
from tools.group.lag import GroupLag, Look, ages, measure, take_look
from tools.group.offsets import Scope
from tools.group.reset import reset, scope_of
from tools.group.show import group_json, group_lines, table_lines
from tools.kafka import bootstrap_option, json_option, run_with_client

FORMAT = 1
"""Of every JSON document: names are added to it, never changed."""
GROUPS_AT_ONCE_MAX = 8
"""Groups that are looked at side by side."""
WATCH_S = 2.0
WATCH_LOOKS_MAX = 16
"""Looks that are kept while watching: rates are of about the last half minute."""
STATES = (
    "Empty",
    "Stable",
    "PreparingRebalance",
    "CompletingRebalance",
    "Assigning",
    "Reconciling",
    "Dead",
)
KINDS = ("classic", "consumer", "share", "streams")


@click.group(
    epilog="""\b
Examples:
  mesh group list
  mesh group describe loader
  mesh group reset loader --topic flights --to-earliest --dry-run
  mesh group delete loader
"""
)
def group() -> None:
    """Manage consumer groups."""


group.add_command(reset)


@group.command(
    "list",
    epilog="""\b
Examples:
  mesh group list
  mesh group list --state Stable --state Empty
  mesh group list --type consumer --json | jq -r '.groups[].group'
""",
)
@bootstrap_option
@click.option(
    "--state",
    "states",
    type=click.Choice(STATES, case_sensitive=False),
    multiple=True,
    help="Only these; may be repeated.",
)
@click.option(
    "--type",
    "kinds",
    type=click.Choice(KINDS, case_sensitive=False),
    multiple=True,
    help="Only these; may be repeated.",
)
@json_option
def list_command(
    bootstrap: str, states: tuple[str, ...], kinds: tuple[str, ...], as_json: bool
) -> None:
    """List groups with their types and states."""

    async def work(client: Client) -> list[GroupListing]:
        return await list_groups(client, states=states, kinds=kinds)

    found = run_with_client(bootstrap, work)
    if as_json:
        _echo_json({"groups": [_listing(item) for item in found]})
        return
    rows = [("GROUP", "TYPE", "STATE", "PROTOCOL", "COORDINATOR")]
    rows += [
        (i.group, i.kind or "-", i.state or "-", i.protocol_type or "-", str(i.coordinator))
        for i in found
    ]
    click.echo("\n".join(table_lines(rows, None)))


def _listing(item: GroupListing) -> dict[str, object]:
    return {
        "group": item.group,
        "type": item.kind,
        "state": item.state,
        "protocol_type": item.protocol_type,
        "coordinator": item.coordinator,
    }


@group.command(
    epilog="""\b
Examples:
  mesh group describe loader
  mesh group describe loader --members
  mesh group describe --all --no-rate
  mesh group describe loader --watch
  mesh group describe loader --json | jq '.groups[0].lag_ms'

\b
LAG is what is left to read; LAG TIME is how old the first record of it is.
READ is how fast the committed offset moves: clients commit every 5 s unless
told otherwise, so --interval 10 tells more than a second does.
"""
)
@click.argument("groups", metavar="GROUP...", nargs=-1)
@bootstrap_option
@click.option("--all", "every", is_flag=True, help="All groups of the cluster.")
@click.option("--members", is_flag=True, help="Show members instead of partitions.")
@click.option("--no-rate", is_flag=True, help="Look once, and tell no rates.")
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Between the two looks that make rates.",
)
@click.option("--watch", is_flag=True, help="Tell it anew every two seconds, until Ctrl-C.")
@json_option
def describe(
    groups: tuple[str, ...],
    bootstrap: str,
    every: bool,
    members: bool,
    no_rate: bool,
    interval: float,
    watch: bool,
    as_json: bool,
) -> None:
    """Show how far groups are behind, in records and in time, and what keeps them."""
    if bool(groups) == every:
        raise click.UsageError("name groups, or give --all")
    if watch and no_rate:
        raise click.UsageError("--watch and --no-rate exclude each other")

    async def names(client: Client) -> list[str]:
        if not every:
            return list(dict.fromkeys(groups))
        return [item.group for item in await list_groups(client)]

    async def once(client: Client) -> None:
        wanted = await names(client)
        before = {} if no_rate else await _looks(client, wanted)
        if not no_rate:
            await trio.sleep(interval)
        looks = await _looks(client, wanted)
        found = [await _measured(client, before.get(name), looks[name]) for name in wanted]
        _tell(found, members=members, as_json=as_json)

    async def again_and_again(client: Client) -> None:
        seen: dict[str, deque[Look]] = {}
        while True:
            wanted = await names(client)
            looks = await _looks(client, wanted)
            found = []
            for name in wanted:
                kept = seen.setdefault(name, deque(maxlen=WATCH_LOOKS_MAX))
                look = looks[name]
                found.append(await _measured(client, kept[0] if kept else None, look))
                if isinstance(look, Look):
                    kept.append(look)
            if sys.stdout.isatty() and not as_json:
                click.clear()
            _tell(found, members=members, as_json=as_json)
            sys.stdout.flush()
            await trio.sleep(WATCH_S)

    if not watch:
        run_with_client(bootstrap, once)
        return
    try:
        run_with_client(bootstrap, again_and_again)
    except click.exceptions.Exit as ended:
        if ended.exit_code != Exit.INTERRUPTED:  # Which is how it is meant to end.
            raise


async def _looks(client: Client, groups: Sequence[str]) -> dict[str, Look | GroupsUnservedError]:
    """Look at groups side by side; those whose coordinator is not ready are told as such."""
    found: dict[str, Look | GroupsUnservedError] = {}
    failures: list[KafkaError] = []
    limiter = trio.CapacityLimiter(GROUPS_AT_ONCE_MAX)

    async def look(name: str) -> None:
        async with limiter:
            try:
                found[name] = await take_look(client, name)
            except GroupsUnservedError as error:
                found[name] = error
            except KafkaError as error:
                failures.append(error)  # Raised below, where no nursery wraps it.

    async with trio.open_nursery() as nursery:
        for name in groups:
            nursery.start_soon(look, name)
    if failures:
        raise failures[0]
    return found


async def _measured(
    client: Client, before: Look | GroupsUnservedError | None, look: Look | GroupsUnservedError
) -> GroupLag | GroupsUnservedError:
    if isinstance(look, GroupsUnservedError):
        return look
    then = before if isinstance(before, Look) else None
    return measure(then, look, await ages(client, look))


def _tell(found: Sequence[GroupLag | GroupsUnservedError], *, members: bool, as_json: bool) -> None:
    if as_json:
        _echo_json({"groups": [group_json(item) for item in found]})
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for number, item in enumerate(found):
        if number:
            click.echo()
        click.echo("\n".join(group_lines(item, members=members, width=width)))


@group.command(
    epilog="""\b
Examples:
  mesh group delete loader --dry-run
  mesh group delete loader old-loader
  mesh group delete loader --offsets --topic flights:0,1
"""
)
@click.argument("groups", metavar="GROUP...", nargs=-1, required=True)
@bootstrap_option
@click.option("--offsets", is_flag=True, help="Only committed offsets, of the topics of --topic.")
@click.option(
    "--topic", "topics", metavar="T[:P,…]", multiple=True, help="With --offsets; may be repeated."
)
@click.option("--if-exists", is_flag=True, help="One that is not there is no error.")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted and change nothing.")
def delete(
    groups: tuple[str, ...],
    bootstrap: str,
    offsets: bool,
    topics: tuple[str, ...],
    if_exists: bool,
    dry_run: bool,
) -> None:
    """Delete groups that have no members, or some of their committed offsets.

    A consumer of a deleted group starts where its auto.offset.reset says.
    """
    if offsets != bool(topics):
        raise click.UsageError("--offsets and --topic go together")
    scopes = [scope_of(text) for text in topics]

    async def work(client: Client) -> None:
        for name in groups:
            try:
                if offsets:
                    await _delete_offsets(client, name, scopes, dry_run)
                else:
                    await _delete(client, name, dry_run)
            except KafkaError as error:
                if error.code is not ErrorCode.GROUP_ID_NOT_FOUND or not if_exists:
                    raise
                click.echo(f"{name} does not exist")

    run_with_client(bootstrap, work)


async def _delete(client: Client, name: str, dry_run: bool) -> None:
    if not dry_run:
        await delete_group(client, name)
        click.echo(f"deleted {name}")
        return
    state = await describe_group(client, name)
    if state.members:
        raise CommandError(
            f"group {name} has {len(state.members)} member(s) and could not be deleted",
            status=Exit.REFUSED,
            kept="nothing was changed",
            do="stop its consumers first; `mesh group describe` with --members names them",
        )
    committed = await fetch_offsets(client, name)
    click.echo(f"would delete {name}: {len(committed):,} committed offset(s)")


async def _delete_offsets(
    client: Client, name: str, scopes: Sequence[Scope], dry_run: bool
) -> None:
    await describe_group(client, name)  # A coordinator forgets nothing of no group in silence.
    committed = await fetch_offsets(client, name)
    wanted = {
        place: at.offset
        for place, at in sorted(committed.items())
        if any(
            scope.topic == place.topic
            and (scope.partitions is None or place.partition in scope.partitions)
            for scope in scopes
        )
    }
    if not wanted:
        raise CommandError(
            f"group {name} has no committed offsets there",
            status=Exit.REFUSED,
            kept="nothing was changed",
            do="`mesh group describe` shows those that it has",
        )
    if dry_run:
        for place, offset in wanted.items():
            click.echo(f"would delete {place} of {name}, committed at {offset}")
        return
    outcomes = await delete_offsets(client, name, wanted)
    _tell_offsets(name, wanted, outcomes)


def _tell_offsets(
    name: str,
    wanted: Mapping[TopicPartition, int],
    outcomes: Mapping[TopicPartition, ErrorCode],
) -> None:
    refused = {}
    for place, offset in wanted.items():
        code = outcomes.get(place, ErrorCode.UNKNOWN_SERVER_ERROR)
        if code is ErrorCode.NONE:
            click.echo(f"deleted {place} of {name}, committed at {offset}")
        else:
            refused[place] = code
    if refused:
        place, code = next(iter(refused.items()))
        more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        why = "a member subscribes to it" if code is ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC else ""
        raise CommandError(
            f"the offset of {place}{more} was not deleted: {why or code.name}",
            status=Exit.REFUSED,
            kept=f"{len(wanted) - len(refused)} offset(s) were deleted, the others stay",
            do="stop the consumers that subscribe to the topic, then run it again",
        )


@group.command(
    "remove-member",
    epilog="""\b
Examples:
  mesh group remove-member loader --instance loader-3
  mesh group remove-member loader --member consumer-1-6f2c…
  mesh group remove-member loader --all --dry-run
""",
)
@click.argument("name", metavar="GROUP")
@bootstrap_option
@click.option("--member", "members", metavar="ID", multiple=True, help="May be repeated.")
@click.option(
    "--instance", "instances", metavar="ID", multiple=True, help="A static one; may be repeated."
)
@click.option("--all", "every", is_flag=True, help="All members that it has now.")
@click.option("--dry-run", is_flag=True, help="Say who would be removed and change nothing.")
def remove_member(
    name: str,
    bootstrap: str,
    members: tuple[str, ...],
    instances: tuple[str, ...],
    every: bool,
    dry_run: bool,
) -> None:
    """Make members leave, so that others get their partitions.

    One that still runs joins again: stop it first, or remove a static one that is gone for good.
    """
    if bool(members or instances) == every:
        raise click.UsageError("name members with --member or --instance, or give --all")

    async def work(client: Client) -> None:
        state = await describe_group(client, name)
        ids, static = _chosen(state, members, instances, every)
        if dry_run:
            for who in [*ids, *static]:
                click.echo(f"would remove {who} from {name}")
            return
        if ids or static:
            outcomes = await remove_members(client, name, members=ids, instances=static)
            _tell_removed(name, outcomes)

    run_with_client(bootstrap, work)


def _chosen(
    state: GroupState, members: Sequence[str], instances: Sequence[str], every: bool
) -> tuple[list[str], list[str]]:
    """Return the member and instance ids that are meant; each must be there."""
    if state.kind != CLASSIC:
        raise CommandError(
            f"group {state.group} is of type {state.kind}: only its members themselves can leave",
            status=Exit.REFUSED,
            kept="nothing was changed",
            do="stop the consumer; the group goes on without it once its session has ended",
        )
    if every:
        static = [member.instance_id for member in state.members if member.instance_id]
        return [m.member_id for m in state.members if not m.instance_id], static
    known = {member.member_id for member in state.members}
    known_static = {member.instance_id for member in state.members}
    missing = [m for m in members if m not in known]
    missing += [i for i in instances if i not in known_static]
    if missing:
        raise CommandError(
            f"group {state.group} has no member {missing[0]}",
            status=Exit.REFUSED,
            kept="nothing was changed",
            do="`mesh group describe` with --members names them",
        )
    return list(dict.fromkeys(members)), list(dict.fromkeys(instances))


def _tell_removed(name: str, outcomes: Mapping[str, ErrorCode]) -> None:
    for who, code in outcomes.items():
        if code is ErrorCode.NONE:
            click.echo(f"removed {who} from {name}")
    refused = [(who, code) for who, code in outcomes.items() if code is not ErrorCode.NONE]
    if refused:
        who, code = refused[0]
        raise CommandError(
            f"member {who} was not removed: {code.name}",
            status=Exit.REFUSED,
            kept=f"{len(outcomes) - len(refused)} other member(s) were removed",
            do="`mesh group describe` with --members shows who is there now",
        )


def _echo_json(document: dict[str, object]) -> None:
    click.echo(json.dumps({"format": FORMAT, **document}, ensure_ascii=False))
