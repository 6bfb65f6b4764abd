"""What nodes say to each other over links, and what no node would: bursts for a node's peer port.

Each connection is a link of a node that is let in; then come frames of which each is well-formed
but for what was done to it. Groups are named that no node holds: what a member may say to a group
that it votes in is no finding, whatever becomes of the group.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator

import cbor2

from mesh.broker.relay import PREFER, RECORDS
from mesh.broker.replica_words import to_word
from mesh.links import FRAME_BYTES_MAX, Hello, Word, encode_hello
from mesh.links.frames import Ask, Beat, Frame, Leads, Led, Reply, WantWhole, Watch, Words, encode
from mesh.replication import Config, Replica
from mesh.replication import messages as msg
from mesh.replication.state import ConfigId, Entry, LogPosition
from simulations.cluster import bytes_of
from storage.records import Record, build_batch
from tools.fuzz.mutate import HELLOS, Mutator
from tools.fuzz.talk import change, mutate

NAME = "link"
CLUSTER_ID = b"the cluster's id"
"""Stands for the node's own until it is sent."""
FOUNDER_ID = 1
NODES = range(2, 12)
"""Who opens links; fewer than a node lets in that it does not know."""
FRAMES_PER_LINK_MAX = 12
REQUESTS = 60
_LENGTHS = (0, 1, 3, FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1, 2**31, 2**32 - 1)
_HEAD = 4
"""Bytes that tell how long a header is."""


def hello(node_id: int) -> bytes:
    """Return the frame with which a node opens a link to the founder."""
    directory_id = bytes(12) + node_id.to_bytes(4, "big")
    said = Hello(CLUSTER_ID, node_id, directory_id, 1, f"127.0.0.1:{node_id}", FOUNDER_ID)
    return framed(encode_hello(said))


def framed(data: bytes) -> bytes:
    """Return a frame with its length before it."""
    return len(data).to_bytes(4, "big") + data


@functools.cache
def corpus() -> tuple[bytes, ...]:
    """Return frames as members say them, of every kind."""
    groups = [(bytes([number]) * 16, number) for number in range(1, 4)]
    voters = tuple(Replica(node_id, f"00000000-0000-4000-8000-{node_id:012x}") for node_id in NODES)
    config, batch = (
        Config(3, 1, voters[:3]),
        bytes(build_batch([Record(0, 1, None, b"value")], leader_epoch=3)),
    )
    words: tuple[msg.Message, ...] = (
        msg.Append(3, 1, config, 0, 0, -1, (Entry(3, 1, batch),), 0, 0, 0),
        msg.Append(3, 1, config, 0, 0, -1, (), 0, 0, 0),
        msg.VoteRequest(4, ConfigId(3, 1), LogPosition(3, 5)),
        msg.VoteRequest(4, ConfigId(3, 1), LogPosition(3, 5), pre=True, last_resort=True),
        msg.VoteReply(4, False, True, 4, config, 0),
        msg.Held(3, 1, 5, 5, ConfigId(3, 1), 0),
        msg.Mismatch(3, 1, 2, 4),
        msg.Refused(5, config),
        msg.Campaign(3),
        msg.Astray(3),
        msg.Leave(3, 1, config),
        msg.Left(3, 1),
    )
    said = [Word(groups[0], *to_word(word)) for word in words]
    led = {group: Led(3, 1, (1, 2, 3), (1, 2)) for group in groups}
    pairs = cbor2.dumps([[b"key", b"value"], [b"", b""]])
    frames: list[Frame] = [
        *(Words([one]) for one in said),
        Words(said),
        Beat(3, 12345, 1, 1),
        Beat(1, 0, 2, 1 << 40),
        Watch(wanted=True),
        Leads(0, 3, led),
        Leads(3, 4, {groups[0]: Led(4, 1, (1,), (1,))}, (groups[1],)),
        Leads(9, 10, {}, (groups[2],)),
        WantWhole(),
        Ask(1, RECORDS, 0, "", pairs),
        Ask(2, PREFER, 0, "", cbor2.dumps([groups[0][0], 1, 2])),
        Reply(1, 0, "", ((0, 5), (3, 9)), b"body"),
        Reply(9, 36, "no", (), b""),
    ]
    requests = Mutator(random.Random(1))
    for number in range(REQUESTS):
        request = requests.pick()
        key, version = (int.from_bytes(request[at : at + 2], "big") for at in (0, 2))
        frames.append(Ask(number, key, version, "fuzz", request[8:]))
    return tuple(b"".join(bytes_of(part) for part in encode(frame)) for frame in frames)


def mutated(rng: random.Random) -> bytes:
    """Return one frame, without its length, that no node would send; or sometimes one that does."""
    frames = corpus()
    frame = rng.choice(frames)
    dice = rng.random()
    if dice < 0.1:
        return frame
    if dice < 0.12:
        return rng.choice((*HELLOS, rng.randbytes(rng.choice((1, 8, 60, 1_400)))))
    size = int.from_bytes(frame[:_HEAD], "big")
    header, blobs = frame[_HEAD : _HEAD + size], bytearray(frame[_HEAD + size :])
    if dice < 0.6:
        other = rng.choice(frames)
        other_size = int.from_bytes(other[:_HEAD], "big")
        tree = cbor2.loads(header)
        for _ in range(rng.choice((1, 1, 2, 4))):
            change(rng, tree, cbor2.loads(other[_HEAD : _HEAD + other_size]))
        header = cbor2.dumps(tree)
        if blobs and rng.random() < 0.3:
            mutate(rng, blobs, frames)
        return len(header).to_bytes(_HEAD, "big") + header + blobs
    body = bytearray(frame)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        mutate(rng, body, frames)
    return bytes(body)


def link_bursts(rng: random.Random, count: int) -> Iterator[list[bytes]]:
    """Yield so many frames of links, each with its length; each burst begins with a hello."""
    while count > 0:
        wanted = min(count, rng.randint(1, FRAMES_PER_LINK_MAX))
        first = hello(rng.choice(NODES))
        if rng.random() < 0.1:
            body = bytearray(first[4:])
            mutate(rng, body, corpus())
            first = framed(bytes(body))
        burst = [first]
        for _ in range(wanted):
            body_bytes = mutated(rng)
            lies = rng.random() < 0.02
            length = rng.choice(_LENGTHS) if lies else len(body_bytes)
            burst.append(length.to_bytes(4, "big") + body_bytes)
        count -= len(burst)
        yield burst
