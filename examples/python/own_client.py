"""Produce three records and read them back as a member of a group, with our own client (trio).

Start a node (`make up`, or `mesh node`), then:

    .venv/bin/python examples/python/own_client.py [HOST:PORT]
"""

import sys

import trio

from mesh.client import Client, connect, group_reader, producer

BOOTSTRAP = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
TOPIC = "examples-own"
GROUP = "examples-own"


async def produce(client: Client) -> None:
    """Send three records with one key, so to one partition; leaving the block waits for them."""
    async with producer(client) as out:
        for text in ("one", "two", "three"):
            await out.send(TOPIC, text.encode(), key=b"greeting")


async def read(client: Client) -> None:
    """Print the next three records of the group; leaving the block commits where it got to."""
    missing = 3
    async with group_reader(client, GROUP, [TOPIC]) as records:
        while missing > 0 and (chunk := await records.next_chunk()) is not None:
            for record in chunk.records[:missing]:
                print(f"{(record.key or b'').decode()} = {(record.value or b'').decode()}")
            if len(chunk.records) > missing:  # what follows is for the next run
                records.give_back(chunk.partition, chunk.records[missing].offset)
            missing -= len(chunk.records)


async def main() -> None:
    """Do both over one set of connections."""
    async with connect(BOOTSTRAP) as client:
        await produce(client)
        await read(client)


if __name__ == "__main__":
    trio.run(main)
