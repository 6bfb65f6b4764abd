"""Right requests made wrong by chance."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence

from mesh.wire import Message, encode_request

TELLING = (0x00, 0x01, 0x7F, 0x80, 0xFF)
"""Bytes that are lengths, signs and ends more often than others."""


def mutated_frames(
    rng: random.Random, requests: Sequence[tuple[Message, int]], *, count: int
) -> Iterator[bytes]:
    """Give `count` frames, each one of the requests with one to four mutations of its body.

    Most keep a true length in front, so that the parser gets to see them.
    """
    for _ in range(count):
        message, version = rng.choice(requests)
        parts = encode_request(message, version, 1, "mutant")
        body = bytearray(b"".join(bytes(part) for part in parts)[4:])  # type: ignore[arg-type]
        for _ in range(rng.randint(1, 4)):
            _mutate(rng, body)
        length = len(body) + (rng.choice((-1, 1, 1000)) if rng.random() < 0.1 else 0)
        yield struct.pack("!i", length) + body


def _mutate(rng: random.Random, body: bytearray) -> None:
    # The first four bytes are API key and version; without them nothing else is looked at.
    place = rng.randrange(4, len(body) + 1)
    choice = rng.randrange(4)
    if choice == 0 and place < len(body):
        body[place] = rng.choice(TELLING) if rng.random() < 0.7 else rng.randrange(256)
    elif choice == 1 and place < len(body):
        body[place] ^= 1 << rng.randrange(8)
    elif choice == 2:
        del body[place : place + rng.randint(1, 6)]
    else:
        body[place:place] = rng.randbytes(rng.randint(1, 6))
