"""Produce three records and read them back, with the client that comes with Gossamer (trio).

Start a node (`make up`, or `mesh node`), then:

    .venv/bin/python examples/python/own_client.py [HOST:PORT]
"""

import sys

import trio

from mesh.client import Assignment, AtOffset, Client, Delivered, connect, producer, reader

BOOTSTRAP = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
TOPIC = "examples-own"


async def produce(client: Client) -> Delivered:
    """Send three records with one key, so to one partition; return where the first one is."""
    async with producer(client) as out:
        receipts = [
            await out.send(TOPIC, text.encode(), key=b"greeting")
            for text in ("one", "two", "three")
        ]
        return await receipts[0].wait()  # leaving the block waits for the others


async def read(client: Client, first: Delivered) -> None:
    """Print three records, from the first on."""
    start, end = AtOffset(first.offset), AtOffset(first.offset + 3)
    async with reader(client, [Assignment(first.partition, start, (end,))]) as records:
        async for _, record in records:
            key, value = record.key or b"", record.value or b""
            print(f"{key.decode()} = {value.decode()}")


async def main() -> None:
    """Do both over one set of connections."""
    async with connect(BOOTSTRAP) as client:
        await read(client, await produce(client))


if __name__ == "__main__":
    trio.run(main)
