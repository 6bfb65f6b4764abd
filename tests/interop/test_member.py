"""Our client as a member of groups: every record is processed, whoever comes and goes."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from mesh.client import (
    LATEST,
    Client,
    GroupNotFoundError,
    GroupReader,
    GroupSettings,
    connect,
    create_topic,
    describe_group,
    fetch_offsets,
    group_reader,
    producer,
)
from tests.interop.test_commands import Shell

NUMBERS = itertools.count()
WAIT_S = 60
COUNT = 200
PARTITIONS = 4
LOOKS_MAX = 20_000


@pytest.fixture
def bootstrap(bootstrap_or_slow: str) -> str:
    """Where these tests run: Kafka's broker only in the long form."""
    return bootstrap_or_slow


@pytest.fixture
def shell(bootstrap: str, capfdbinary: pytest.CaptureFixture[bytes]) -> Shell:
    """Commands against a running broker."""
    return Shell(bootstrap, capfdbinary)


@asynccontextmanager
async def connected(bootstrap: str) -> AsyncIterator[Client]:
    """A client, and a bound on how long the test may use it."""
    with trio.fail_after(WAIT_S):
        async with connect(bootstrap) as client:
            yield client


async def a_topic(client: Client) -> str:
    """A topic with COUNT records over PARTITIONS partitions."""
    name = f"member-{os.getpid()}-{next(NUMBERS)}"
    await create_topic(client, name, partitions=PARTITIONS)
    await fill(client, name, 0)
    return name


async def fill(client: Client, name: str, first: int) -> None:
    """Write COUNT numbers, in turns over the partitions."""
    async with producer(client) as sink:
        for number in range(first, first + COUNT):
            await sink.send(name, b"%d" % number, partition=number % PARTITIONS)


async def read_some(source: GroupReader, count: int) -> list[int]:
    """At least so many numbers."""
    found: list[int] = []
    while len(found) < count:
        chunk = await source.next_chunk()
        assert chunk is not None
        found += [int(record.value or b"") for record in chunk.records]
    return found


async def test_a_member_reads_on_where_the_one_before_it_left(bootstrap: str) -> None:
    """What was processed is committed when the reader is left, and read by nobody again."""
    async with connected(bootstrap) as client:
        name = await a_topic(client)
        async with group_reader(client, name, [name]) as source:
            first = await read_some(source, COUNT)
        assert (await describe_group(client, name)).members == ()
        await fill(client, name, COUNT)
        async with group_reader(client, name, [name], GroupSettings(ends=(LATEST,))) as source:
            second = []
            while (chunk := await source.next_chunk()) is not None:
                second += [int(record.value or b"") for record in chunk.records]
    assert sorted(first) == list(range(COUNT))
    assert sorted(second) == list(range(COUNT, 2 * COUNT))


async def each_holds(client: Client, group: str, *counts: int) -> None:
    """Ask until the members hold so many partitions."""
    for _ in range(LOOKS_MAX):
        try:
            members = (await describe_group(client, group)).members
        except GroupNotFoundError:
            continue  # Nobody has joined yet.
        if sorted(len(member.assigned or ()) for member in members) == sorted(counts):
            return
    pytest.fail(f"the members never held {counts}")


async def test_members_come_and_go_and_every_record_is_read(bootstrap: str) -> None:
    """A second member gets half; when the first leaves, the second has all it left."""
    async with connected(bootstrap) as client, connected(bootstrap) as other:
        name = await a_topic(client)
        found: set[int] = set()

        async def follow(source: GroupReader, scope: trio.CancelScope) -> None:
            while (chunk := await source.next_chunk()) is not None:
                found.update(int(record.value or b"") for record in chunk.records)
                if len(found) == 2 * COUNT:
                    scope.cancel()

        async with group_reader(other, name, [name]) as second:
            async with group_reader(client, name, [name]) as first, trio.open_nursery() as nursery:
                # Both ask for records all the time, as members do; so partitions can move.
                nursery.start_soon(follow, first, nursery.cancel_scope)
                nursery.start_soon(follow, second, nursery.cancel_scope)
                await each_holds(other, name, 2, 2)
                await fill(client, name, COUNT)
            await fill(client, name, 2 * COUNT)
            found.update(await read_some(second, COUNT))
            assert len(second.assigned) == PARTITIONS
        places = await fetch_offsets(client, name)
    assert found == set(range(3 * COUNT))
    assert {place.offset for place in places.values()} == {3 * COUNT // PARTITIONS}


async def test_records_that_were_being_processed_when_it_failed_come_again(bootstrap: str) -> None:
    """An error in the block commits only what was processed before the newest chunk."""
    async with connected(bootstrap) as client:
        name = await a_topic(client)

        async def fail() -> None:
            async with group_reader(client, name, [name]) as source:
                await source.next_chunk()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert sum(p.offset for p in (await fetch_offsets(client, name)).values()) == 0
        async with group_reader(client, name, [name]) as source:
            assert sorted(await read_some(source, COUNT)) == list(range(COUNT))


async def test_a_cancelled_member_still_commits_and_leaves(bootstrap: str) -> None:
    """As Ctrl-C does: its partitions are free at once, not after its session."""
    async with connected(bootstrap) as client:
        name = await a_topic(client)
        with trio.CancelScope() as scope:
            async with connect(bootstrap) as own, group_reader(own, name, [name]) as source:
                await read_some(source, COUNT)
                scope.cancel()
                await source.next_chunk()
        assert (await describe_group(client, name)).members == ()
        assert sum(p.offset for p in (await fetch_offsets(client, name)).values()) == COUNT


async def test_what_is_given_back_is_read_by_the_next(bootstrap: str) -> None:
    """A user that stops within a chunk says where."""
    async with connected(bootstrap) as client:
        name = await a_topic(client)
        async with group_reader(client, name, [name]) as source:
            chunk = await source.next_chunk()
            assert chunk is not None
            source.give_back(chunk.partition, 3)
        assert (await fetch_offsets(client, name))[chunk.partition].offset == 3


async def test_who_asks_for_nothing_for_too_long_leaves(bootstrap: str) -> None:
    """Its partitions go to others; when it asks again it joins again."""
    async with connected(bootstrap) as client:
        name = await a_topic(client)
        settings = GroupSettings(poll_ms_max=50)
        async with group_reader(client, name, [name], settings) as source:
            await source.next_chunk()
            await each_holds(client, name)
            assert sorted(await read_some(source, COUNT)) == list(range(COUNT))


def test_consume_as_a_member(shell: Shell) -> None:
    """`--count` stops within a batch and commits just that; the next run goes on behind it."""
    name = f"member-{os.getpid()}-{next(NUMBERS)}"
    shell.run("topic", "create", name, "--partitions", "1")
    shell.run("produce", name, given=b"a\nb\nc\nd\n")
    group = ("consume", name, "--group", name)
    assert shell.run(*group, "--count", "1") == b"a\n"
    assert shell.run(*group, "--exit-at-end") == b"b\nc\nd\n"
    assert shell.run(*group, "--exit-at-end") == b""
    assert b"leave out --partition" in shell.run(*group, "--partition", "0", status=2)
    assert b"needs a partition" in shell.run(*group, "--from", "-3", status=2)
