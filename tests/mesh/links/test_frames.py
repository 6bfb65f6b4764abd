"""The bytes on a link: what is said comes out as it went in, and anything else is refused."""

from __future__ import annotations

import random

import pytest

from mesh.links.frames import (
    Ask,
    BadFrameError,
    Beat,
    Frame,
    Hello,
    Leads,
    Led,
    Reply,
    WantWhole,
    Watch,
    Welcome,
    Word,
    Words,
    encode,
    encode_hello,
    encode_welcome,
    is_hello,
    parse_hello_untrusted,
    parse_untrusted,
    parse_welcome_untrusted,
)

GROUP = (bytes(range(16)), 3)
HELLO = Hello(b"c" * 16, 7, b"d" * 16, 4, "10.0.0.7:9093", 2)
WELCOME = Welcome(2, b"e" * 16, 9, 4, 1_000)
MANY = {(bytes([n >> 8, n & 255]) * 8, n): Led(n, 1, (1, 2, 3), (1, 2)) for n in range(3_000)}
FRAMES: tuple[Frame, ...] = (
    Words([Word(GROUP, 3, [1, 2, [3, 4]], [b"one", b""]), Word(GROUP, 5, [True], [b"two"])]),
    Words([]),
    Beat(3, (1 << 64) - 1, 5, 6),
    Leads(0, 8, MANY),
    Leads(8, 9, {GROUP: Led(4, 2, (3, 1), ())}, (GROUP,)),
    WantWhole(),
    Watch(wanted=True),
    Watch(wanted=False),
    Ask(5, 19, 7, "client", b"body"),
    Reply(5, 0, "", ((0, 4), (7, 9)), b"answer"),
)


def bytes_of(frame: Frame) -> bytes:
    return b"".join(bytes(part) for part in encode(frame))


def plain(frame: Frame) -> object:
    """Return a frame in a form that can be compared: with bytes for what lies in a buffer."""
    if isinstance(frame, Words):
        return [
            (word.group, word.kind, word.fields, [bytes(blob) for blob in word.blobs])
            for word in frame.words
        ]
    if isinstance(frame, Ask):
        return (frame.number, frame.api_key, frame.api_version, frame.client_id, bytes(frame.body))
    if isinstance(frame, Reply):
        return (frame.number, frame.error, frame.text, frame.ends, bytes(frame.body))
    return frame


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_a_frame_comes_out_as_it_went_in(frame: Frame) -> None:
    """Header and batches, of every kind."""
    found = parse_untrusted(memoryview(bytearray(bytes_of(frame))))
    assert plain(found) == plain(frame)


def test_batches_are_not_copied_to_be_read() -> None:
    """What lies behind the header is a view of the frame."""
    data = bytearray(bytes_of(FRAMES[0]))
    found = parse_untrusted(memoryview(data))
    assert isinstance(found, Words)
    blob = found.words[0].blobs[0]
    assert isinstance(blob, memoryview)
    assert blob.obj is data


def test_the_bytes_are_these() -> None:
    """Nodes of two releases speak to each other, so nothing of this may change by itself."""
    assert bytes_of(Beat(1, 2, 3, 4)).hex() == "00000006850101020304"
    assert bytes_of(WantWhole()).hex() == "000000028103"
    assert bytes_of(Watch(wanted=True)).hex() == "000000038206f5"
    assert encode_hello(HELLO)[:4] == b"GL1\x87"
    word = Words([Word((b"t" * 16, 1), 6, [5])])
    assert bytes_of(word).hex() == "0000001a8200818550" + "74" * 16 + "0106810580"


@pytest.mark.parametrize("frame", FRAMES[:3] + FRAMES[4:], ids=lambda frame: type(frame).__name__)
def test_a_frame_that_is_cut_short_is_refused(frame: Frame) -> None:
    """At any byte; only a body has no length of its own."""
    data = bytes_of(frame)
    header = 4 + int.from_bytes(data[:4], "big")
    for end in range(header):
        with pytest.raises(BadFrameError):
            parse_untrusted(memoryview(data[:end]))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_is_a_frame_or_refused(seed: int) -> None:
    """A thousand mutations of good frames: never another error than BadFrameError."""
    rng = random.Random(seed)
    for _ in range(1_000):
        data = bytearray(bytes_of(rng.choice(FRAMES[:3] + FRAMES[4:])))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            match rng.randrange(3):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    data[at:at] = rng.randbytes(rng.randrange(1, 5))
                case _:
                    del data[at : at + rng.randrange(1, 4)]
            if not data:
                break
        try:
            parse_untrusted(memoryview(data))
        except BadFrameError:
            continue


def test_how_a_link_opens() -> None:
    """Hello, welcome, or words why not; a question of gossip is no hello."""
    assert is_hello(encode_hello(HELLO))
    assert parse_hello_untrusted(encode_hello(HELLO)) == HELLO
    assert parse_welcome_untrusted(encode_welcome(WELCOME)) == WELCOME
    assert parse_welcome_untrusted(encode_welcome("is of another mesh")) == "is of another mesh"
    assert not is_hello(b"\x87\x00")


@pytest.mark.parametrize(
    "hello",
    [
        HELLO._replace(cluster_id=b"short"),
        HELLO._replace(directory_id=b""),
        HELLO._replace(node_id=0),
        HELLO._replace(node_id=1 << 31),
        HELLO._replace(start=-1),
        HELLO._replace(node_id=True),
        HELLO._replace(version=-1),
    ],
)
def test_a_hello_that_no_member_says_is_refused(hello: Hello) -> None:
    """Ids of other lengths, and numbers out of bounds."""
    with pytest.raises(BadFrameError):
        parse_hello_untrusted(encode_hello(hello))


def test_a_hello_tells_its_version() -> None:
    """And without the first bytes of one it is none."""
    newer = HELLO._replace(version=9)
    assert parse_hello_untrusted(encode_hello(newer)) == newer
    with pytest.raises(BadFrameError):
        parse_hello_untrusted(b"x" + encode_hello(HELLO)[1:])


@pytest.mark.parametrize("seed", range(10))
def test_whatever_opens_a_link_is_understood_or_refused(seed: int) -> None:
    """Hello and welcome cut anywhere, and with any bytes changed."""
    rng = random.Random(seed)
    for data, parse in (
        (encode_hello(HELLO), parse_hello_untrusted),
        (encode_welcome(WELCOME), parse_welcome_untrusted),
    ):
        changed = [data[:length] for length in range(len(data))]
        for _ in range(500):
            some = bytearray(data)
            for _ in range(rng.randint(1, 4)):
                some[rng.randrange(len(some))] = rng.randrange(256)
            changed.append(bytes(some))
        for one in changed:
            try:
                parse(one)
            except BadFrameError:
                continue
