"""`mesh topic`: list, create, describe, alter and delete topics of any Kafka cluster."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

import click

from mesh.client import (
    EARLIEST,
    LATEST,
    Client,
    ConfigEntry,
    PartitionState,
    TopicPartition,
    TopicState,
    UnknownTopicError,
    alter_topic_configs,
    create_partitions,
    create_topic,
    delete_topic,
    describe_topic_configs,
    list_offsets,
)
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.setting import Source
from tools.kafka import bootstrap_option, json_option, key_values, run_with_client

FORMAT = 1
"""Of every JSON document: names are added to it, never changed."""


@click.group(
    epilog="""\b
Examples:
  mesh topic create flights --partitions 6 --config retention.ms=86400000
  mesh topic list
  mesh topic describe flights
  mesh topic alter flights --config cleanup.policy=compact --delete-config retention.ms
  mesh topic delete flights --dry-run
"""
)
def topic() -> None:
    """Manage topics."""


@topic.command(
    "list",
    epilog="""\b
Examples:
  mesh topic list
  mesh topic list --internal --json
""",
)
@bootstrap_option
@click.option("--internal", is_flag=True, help="Show the cluster's own topics, too.")
@json_option
def list_command(bootstrap: str, internal: bool, as_json: bool) -> None:
    """List topics with their numbers of partitions and replicas."""

    async def work(client: Client) -> list[TopicState]:
        cluster = await client.metadata()
        return [cluster.topics[name] for name in sorted(cluster.topics)]

    topics = [state for state in run_with_client(bootstrap, work) if internal or not state.internal]
    if as_json:
        _echo_json({"topics": [_summary(state) for state in topics]})
        return
    rows = [("TOPIC", "PARTITIONS", "REPLICAS")]
    rows += [(t.name, str(len(t.partitions)), str(_replication_factor(t))) for t in topics]
    _echo_table(rows)


@topic.command(
    epilog="""\b
Examples:
  mesh topic create flights
  mesh topic create flights --partitions 6 --replication-factor 3
  mesh topic create flights --config cleanup.policy=compact --if-not-exists
  mesh topic create flights --config retention.ms=1 --dry-run
"""
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@bootstrap_option
@click.option("--partitions", metavar="N", type=click.IntRange(1), help="[default: the cluster's]")
@click.option(
    "--replication-factor", metavar="N", type=click.IntRange(1, 32767), help="[as --partitions]"
)
@click.option("--config", "configs", metavar="K=V", multiple=True, help="May be repeated.")
@click.option("--if-not-exists", is_flag=True, help="One that exists is left as it is.")
@click.option("--dry-run", is_flag=True, help="Let the broker check it and change nothing.")
def create(
    names: tuple[str, ...],
    bootstrap: str,
    partitions: int | None,
    replication_factor: int | None,
    configs: tuple[str, ...],
    if_not_exists: bool,
    dry_run: bool,
) -> None:
    """Create topics."""
    values = key_values(configs, "--config")

    async def work(client: Client) -> None:
        for name in names:
            try:
                await create_topic(
                    client,
                    name,
                    partitions=partitions or -1,
                    replication_factor=replication_factor or -1,
                    configs=values,
                    validate_only=dry_run,
                )
            except KafkaError as error:
                if error.code is not ErrorCode.TOPIC_ALREADY_EXISTS or not if_not_exists:
                    raise
                click.echo(f"{name} exists")
            else:
                click.echo(f"{name} could be created" if dry_run else f"created {name}")

    run_with_client(bootstrap, work)


@topic.command(
    epilog="""\b
Examples:
  mesh topic describe flights
  mesh topic describe flights --all-configs
  mesh topic describe flights --json | jq '.topics[0].partitions[].high_watermark'
"""
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@bootstrap_option
@click.option("--all-configs", is_flag=True, help="Show configs at their default, too.")
@json_option
def describe(names: tuple[str, ...], bootstrap: str, all_configs: bool, as_json: bool) -> None:
    """Show partitions, offsets and configs.

    Of the configs those that are not at their default, unless --all-configs is given.
    """

    async def work(client: Client) -> list[dict[str, object]]:
        return [await _description(client, name, all_configs) for name in names]

    described = run_with_client(bootstrap, work)
    if as_json:
        _echo_json({"topics": described})
        return
    for number, item in enumerate(described):
        if number:
            click.echo()
        _echo_description(item)


@topic.command(
    epilog="""\b
Examples:
  mesh topic alter flights --config retention.ms=3600000 --config max.message.bytes=2000000
  mesh topic alter flights --delete-config retention.ms
  mesh topic alter flights --partitions 12
"""
)
@click.argument("name")
@bootstrap_option
@click.option("--config", "configs", metavar="K=V", multiple=True, help="Set; may be repeated.")
@click.option("--delete-config", "deletes", metavar="K", multiple=True, help="Back to the default.")
@click.option(
    "--partitions", metavar="N", type=click.IntRange(1), help="Number in all; it can only grow."
)
@click.option("--dry-run", is_flag=True, help="Let the broker check it and change nothing.")
def alter(
    name: str,
    bootstrap: str,
    configs: tuple[str, ...],
    deletes: tuple[str, ...],
    partitions: int | None,
    dry_run: bool,
) -> None:
    """Change configs, or add partitions.

    Keys of new records spread over the new number: those of one key are then in two partitions.
    """
    values = key_values(configs, "--config")
    if not (values or deletes or partitions):
        raise click.UsageError("give --config, --delete-config or --partitions")
    if both := sorted(set(values) & set(deletes)):
        raise click.UsageError(f"{both[0]} is both set and deleted")

    async def work(client: Client) -> None:
        await _known(client, name)
        if partitions is not None:
            await create_partitions(client, name, partitions, validate_only=dry_run)
        if values or deletes:
            await alter_topic_configs(
                client, name, values=values, deletes=deletes, validate_only=dry_run
            )
        click.echo(f"{name} could be altered" if dry_run else f"altered {name}")

    run_with_client(bootstrap, work)


@topic.command(
    epilog="""\b
Examples:
  mesh topic delete flights --dry-run
  mesh topic delete flights
"""
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@bootstrap_option
@click.option("--if-exists", is_flag=True, help="One that is not there is no error.")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted and change nothing.")
def delete(names: tuple[str, ...], bootstrap: str, if_exists: bool, dry_run: bool) -> None:
    """Delete topics with all their records."""

    async def work(client: Client) -> None:
        states = [await _known(client, name, must_exist=not if_exists) for name in names]
        for name, state in zip(names, states, strict=True):
            if state is None:
                click.echo(f"{name} does not exist")
            elif dry_run:
                count = sum(end - start for start, end in (await _offsets(client, state)).values())
                size = f"{len(state.partitions)} partition(s), {count:,} offset(s)"
                click.echo(f"would delete {name}: {size}")
            else:
                await delete_topic(client, name)
                click.echo(f"deleted {name}")

    run_with_client(bootstrap, work)


async def _known(client: Client, name: str, *, must_exist: bool = True) -> TopicState | None:
    await client.refresh([name])
    state = client.cluster.topics.get(name)
    if state is None and must_exist:
        code = client.cluster.errors.get(name, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        if code is not ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            raise KafkaError(code, f"topic {name}")
        raise UnknownTopicError(f"there is no topic {name}")
    return state


async def _offsets(client: Client, state: TopicState) -> dict[int, tuple[int, int]]:
    """Return first offset and high watermark of every partition that has a leader."""
    led = [
        TopicPartition(state.name, index)
        for index in state.partitions
        if client.cluster.leader(TopicPartition(state.name, index)) is not None
    ]
    starts = await list_offsets(client, led, EARLIEST)
    ends = await list_offsets(client, led, LATEST)
    return {item.partition: (starts[item].offset, ends[item].offset) for item in led}


async def _description(client: Client, name: str, all_configs: bool) -> dict[str, object]:
    state = await _known(client, name)
    assert state is not None
    offsets = await _offsets(client, state)
    configs = await describe_topic_configs(client, name)
    return {
        **_summary(state),
        "partitions": [
            _partition(index, part, offsets.get(index)) for index, part in state.partitions.items()
        ],
        "configs": [
            _config(entry) for entry in configs if all_configs or entry.source != Source.DEFAULT
        ],
    }


def _summary(state: TopicState) -> dict[str, object]:
    return {
        "topic": state.name,
        # As Kafka's tools write ids.
        "topic_id": base64.urlsafe_b64encode(state.id).rstrip(b"=").decode(),
        "internal": state.internal,
        "partition_count": len(state.partitions),
        "replication_factor": _replication_factor(state),
    }


def _replication_factor(state: TopicState) -> int:
    return max((len(part.replicas) for part in state.partitions.values()), default=0)


def _partition(
    index: int, part: PartitionState, offsets: tuple[int, int] | None
) -> dict[str, object]:
    return {
        "partition": index,
        "leader": part.leader,
        "leader_epoch": part.leader_epoch,
        "replicas": part.replicas,
        "in_sync": part.in_sync,
        "offline": part.offline,
        "log_start_offset": offsets[0] if offsets else None,
        "high_watermark": offsets[1] if offsets else None,
    }


def _config(entry: ConfigEntry) -> dict[str, object]:
    try:
        source = Source(entry.source).name.lower()
    except ValueError:
        source = str(entry.source)
    return {"name": entry.name, "value": entry.value, "source": source}


def _echo_description(item: dict[str, object]) -> None:
    click.echo(f"{item['topic']}  id {item['topic_id']}{'  internal' * bool(item['internal'])}")
    rows = [("PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN SYNC", "FIRST OFFSET", "END")]
    partitions = item["partitions"]
    assert isinstance(partitions, list)
    for part in partitions:
        rows.append(
            (
                str(part["partition"]),
                str(part["leader"]) if part["leader"] >= 0 else "none",
                str(part["leader_epoch"]),
                ",".join(map(str, part["replicas"])),
                ",".join(map(str, part["in_sync"])),
                _shown(part["log_start_offset"]),
                _shown(part["high_watermark"]),
            )
        )
    _echo_table(rows)
    configs = item["configs"]
    assert isinstance(configs, list)
    if configs:
        click.echo("configs:")
    for config in configs:
        value = "(secret or not set)" if config["value"] is None else config["value"]
        click.echo(f"  {config['name']}={value}  ({config['source'].replace('_', ' ')})")


def _shown(value: object) -> str:
    return "?" if value is None else str(value)


def _echo_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _echo_json(document: dict[str, object]) -> None:
    click.echo(json.dumps({"format": FORMAT, **document}, ensure_ascii=False))
