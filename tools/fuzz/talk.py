"""What members say to one another, and what nobody would: the pieces of a hunt on membership.

A mesh of virtual nodes lives through joins, losses, a split, a death and a leave; what comes in at
their doors is the corpus. Each message stands behind the number of its door.
"""

from __future__ import annotations

import copy
import functools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cbor2

from mesh.gossip import LAN, Effect, Gossip, Known, Me, Settings
from mesh.gossip.messages import CLASHES, FOREIGN, REFUSE, REFUSED, TOO_NEW
from mesh.gossip.settings import FRAME_BYTES_MAX
from mesh.runtime.sealing import HELLO_BYTES, STREAM_MAGIC
from simulations.gossip_mesh import GossipMesh, Machine
from simulations.net import Link, Network
from simulations.world import World
from tools.fuzz.mutate import HELLOS

NODES = 8
SECOND = 1_000_000
CORPUS_S = 60
OF_EACH_KIND = 400
"""Messages of a kind that a mutation may begin as."""
DATAGRAM, QUESTION, ANSWER = range(3)

_VALUES: tuple[object, ...] = (
    0,
    -1,
    1,
    2**31,
    2**53,
    2**63,
    2**64 - 1,
    -(2**64),
    1 << 200,
    1.5,
    float("nan"),
    float("inf"),
    None,
    True,
    "",
    "\x1b[2J",
    "x" * 300,
    b"",
    b"\x00" * 300,
    [],
    [[]],
    {},
    {"a": {"b": []}},
)
_PIECES = (
    b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x9a\x7f\xff\xff\xff",
    b"\xbb\x00\x00\x00\x01\x00\x00\x00\x00",
    b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\x7a\x7f\xff\xff\xff",
    b"\x9f",
    b"\xbf",
    b"\x5f",
    b"\xff",
    b"\x81" * 2_000,
    b"\xc1" * 500,
    b"\xd8\x1d\x00",
    b"\xf9\x7e\x00",
    b"\xc2\x58\x28" + b"\xff" * 40,
    b"\xd8\x1c\x81\xd8\x1d\x00",
    b"\xf7",
    b"\xe1",
)
"""Counts and lengths that lie, beginnings without an end, deep nests, references, not-a-numbers."""


_LENGTHS = (0, 1, 3, FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1, 2**31, 2**32 - 1)


class _Ear:
    """The real machine, and what comes in at its doors."""

    def __init__(self, machine: Gossip, heard: list[bytes]) -> None:
        self._machine = machine
        self._heard = heard
        self.join, self.leave, self.write = machine.join, machine.leave, machine.write
        self.woken = machine.woken

    @property
    def wake_at_ms(self) -> int:
        return self._machine.wake_at_ms

    def received(self, data: bytes, source: str, now_ms: int) -> list[Effect]:
        self._heard.append(bytes([DATAGRAM]) + data)
        return self._machine.received(data, source, now_ms)

    def called(self, data: bytes, source: str, now_ms: int) -> tuple[bytes | None, list[Effect]]:
        self._heard.append(bytes([QUESTION]) + data)
        return self._machine.called(data, source, now_ms)

    def answered(self, call_id: int, data: bytes | None, now_ms: int) -> list[Effect]:
        if data is not None:
            self._heard.append(bytes([ANSWER]) + data)
        return self._machine.answered(call_id, data, now_ms)


@functools.cache
def corpus() -> tuple[bytes, ...]:
    """Return real messages, each behind the number of its door, kinds as evenly as there are."""
    heard: list[bytes] = []

    def make(
        me: Me, settings: Settings, rng: random.Random, now_ms: int, known: Known | None
    ) -> Machine:
        return _Ear(Gossip(me, settings, rng, now_ms, known=known), heard)

    world = World(1)
    mesh = GossipMesh(world, Network(world, Link(loss=0.3, reset=0.1)), LAN, make)
    mesh.add_agreed(NODES)
    acts: tuple[tuple[int, Callable[[], object]], ...] = (
        (3, lambda: mesh.crash(3)),
        (4, lambda: mesh.add(NODES + 1, [1, 2])),
        (8, lambda: mesh.ask(4, lambda machine, now_ms: machine.write({"load": 5}, now_ms))),
        (12, lambda: mesh.restart(3, [1])),
        (20, lambda: mesh.leave(5)),
        (30, lambda: mesh.pause(6)),
        (36, lambda: mesh.net.split({1, 2, 4}, {6, 7, 8, 9})),
        (40, lambda: mesh.resume(6)),
        (45, lambda: mesh.add(NODES + 2, [1])),
        (50, mesh.net.heal),
    )
    for second, act in acts:
        world.run_until(second * SECOND)
        act()
    world.run_until(CORPUS_S * SECOND)
    for reason in (FOREIGN, TOO_NEW, CLASHES):
        heard.append(bytes([DATAGRAM]) + cbor2.dumps((REFUSE, 0, 2, 1, 0, 0, reason, ())))
        heard.append(bytes([ANSWER]) + cbor2.dumps((REFUSED, 0, reason, "is of another mesh")))
    by_kind: dict[tuple[int, object], list[bytes]] = {}
    for message in heard:
        kind = cbor2.loads(message[1:])[0]
        by_kind.setdefault((message[0], kind), []).append(message)
    kinds = by_kind.values()
    return tuple(one for some in kinds for one in some[:: 1 + len(some) // OF_EACH_KIND])


def mutated(rng: random.Random, messages: Sequence[bytes]) -> bytes:
    """Return one message that nobody would send, behind the number of its door."""
    message = rng.choice(messages)
    door, body = message[:1], bytearray(message[1:])
    dice = rng.random()
    if dice < 0.02:
        return door + rng.choice(HELLOS)
    if dice < 0.04:
        return door + rng.randbytes(rng.choice((0, 1, 8, 60, 1_400)))
    if dice < 0.45:
        tree = cbor2.loads(bytes(body))
        for _ in range(rng.choice((1, 1, 2, 4))):
            change(rng, tree, cbor2.loads(rng.choice(messages)[1:]))
        return door + cbor2.dumps(tree)
    if dice < 0.47:
        door = bytes([rng.randrange(3)])
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        mutate(rng, body, messages)
    return door + bytes(body)


def peer_bursts(rng: random.Random, count: int) -> Iterator[list[bytes]]:
    """Yield so many frames for the peer port, each on a stream of its own."""
    real = [message for message in corpus() if message[0] == QUESTION]
    for _ in range(count):
        body = mutated(rng, real)[1:]
        length = len(body) if rng.random() < 0.9 else rng.choice(_LENGTHS)
        hello = STREAM_MAGIC + rng.randbytes(HELLO_BYTES - len(STREAM_MAGIC))
        yield [(hello if rng.random() < 0.02 else b"") + length.to_bytes(4, "big") + body]


def change(rng: random.Random, tree: list[Any], other: list[Any]) -> None:
    """Put something else in one place of a message that is well-formed."""
    place: Any = tree
    while rng.random() < 0.8:
        inner = [one for one in place if isinstance(one, list | dict) and one]
        if not inner or isinstance(place, dict):
            break
        place = rng.choice(inner)
    key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
    dice = rng.random()
    if dice < 0.5:
        place[key] = copy.deepcopy(rng.choice(_VALUES))
    elif dice < 0.7 and isinstance(place[key], int):
        place[key] += rng.choice((-1, 1, 256, -256))
    elif dice < 0.85:
        place[key] = rng.choice(other)
    elif isinstance(place, list):
        place[key:key] = [rng.choice(other)] * rng.choice((1, 2, 40))


def mutate(rng: random.Random, body: bytearray, messages: Sequence[bytes]) -> None:
    """Do something to bytes, whatever they are; pieces of other messages may take their place."""
    place = rng.randrange(len(body) + 1)
    match rng.randrange(7):
        case 0 | 1 if place < len(body):
            body[place] ^= 1 << rng.randrange(8)
        case 2:
            del body[place : place + rng.randint(1, 6)]
        case 3:
            body[place:place] = rng.randbytes(rng.randint(1, 6))
        case 4:
            body[place:place] = rng.choice(_PIECES)
        case 5:
            other = rng.choice(messages)
            body[place:] = other[rng.randrange(1, len(other)) :]
        case _:
            del body[place:]
