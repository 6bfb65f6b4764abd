"""Sealed with a cluster key: who has none reads, forges and repeats nothing."""

from __future__ import annotations

import hmac
import random
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from mesh.runtime.sealing import (
    CLOCK_S_MAX,
    HELLO_BYTES,
    OVERHEAD_BYTES,
    RANDOM_BYTES,
    SESSIONS_MAX,
    TAG_BYTES,
    UNKNOWN_KEY,
    WINDOW,
    Channel,
    RefusedSealError,
    Seal,
    key_id,
)

NOW_MS = 1_764_150_000_000
ONE, TWO = bytes(range(32)), bytes(range(1, 33))


def dice(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def a_seal(seed: int, *keys: bytes) -> Seal:
    return Seal(keys or (ONE,), dice(seed))


def refused(seal: Seal, datagram: bytes, wall_ms: int = NOW_MS) -> str:
    """Return why a datagram is refused."""
    with pytest.raises(RefusedSealError) as caught:
        seal.open(datagram, wall_ms)
    return caught.value.reason


def test_what_one_seals_another_opens() -> None:
    """A sealed message comes out as it was, is longer by the overhead, and hides what it says."""
    sender, receiver = a_seal(1), a_seal(2)
    for message in (b"", b"ping", bytes(1_400)):
        datagram = sender.seal(message, NOW_MS)
        assert len(datagram) == len(message) + OVERHEAD_BYTES
        assert len(message) < 4 or message not in datagram
        assert receiver.open(datagram, NOW_MS) == message


def hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869 by hand, for up to 32 bytes."""
    pseudorandom = hmac.digest(salt or bytes(32), key, "sha256")
    return hmac.digest(pseudorandom, info + b"\x01", "sha256")


def test_a_datagram_on_the_wire() -> None:
    """Every byte is what the formats of the docstring say, worked out beside our code."""
    seal = a_seal(1)
    session = dice(1)(12)
    for number in range(2):
        head = (
            b"\xe1" + hkdf(ONE, b"", b"gossamer key id")[:4] + session + bytes(5) + bytes([number])
        )
        cipher = ChaCha20Poly1305(hkdf(ONE, session, b"gossamer datagrams"))
        plain = (NOW_MS // 1000).to_bytes(4, "big") + b"ping"
        sealed = cipher.encrypt(number.to_bytes(12, "big"), plain, head)
        assert seal.seal(b"ping", NOW_MS) == head + sealed


def test_each_bit_counts() -> None:
    """A datagram with any one bit changed, cut off anywhere or made longer, is refused."""
    datagram = a_seal(1).seal(b"ping", NOW_MS)
    receiver = a_seal(2)
    for bit in range(8 * len(datagram)):
        changed = bytearray(datagram)
        changed[bit // 8] ^= 1 << bit % 8
        assert refused(receiver, bytes(changed)) in {"forged", "unsealed", "unknown_key"}
    for length in range(len(datagram)):
        assert refused(receiver, datagram[:length]) in {"forged", "unsealed"}
    assert refused(receiver, datagram + b"\0") == "forged"
    assert receiver.open(datagram, NOW_MS) == b"ping"


def test_what_came_before_is_refused() -> None:
    """A datagram is taken once, by each who gets it, whatever came between."""
    sender, first, second = a_seal(1), a_seal(2), a_seal(3)
    datagrams = [sender.seal(b"%d" % n, NOW_MS) for n in range(3)]
    for receiver in (first, second):
        for datagram in reversed(datagrams):
            receiver.open(datagram, NOW_MS)
        for datagram in datagrams:
            assert refused(receiver, datagram) == "replayed"


@given(st.lists(st.integers(0, 3 * WINDOW), max_size=60), st.integers(0, 10))
def test_the_window_is_a_set_of_numbers(order: list[int], seed: int) -> None:
    """What is taken is what did not come yet and is not older than the window, as a set tells."""
    sender, receiver = a_seal(seed), a_seal(99)
    numbers = sorted(set(order))
    sealed = {}
    for number in numbers:
        sender._number = number  # sealing all those between takes seconds
        sealed[number] = sender.seal(b"", NOW_MS)
    came: set[int] = set()
    for number in order:
        new = number not in came and number > max(came, default=0) - WINDOW
        if new:
            receiver.open(sealed[number], NOW_MS)
            came.add(number)
        else:
            assert refused(receiver, sealed[number]) == "replayed"


@pytest.mark.parametrize("seconds", [-CLOCK_S_MAX - 1, CLOCK_S_MAX + 1])
def test_what_is_old_is_refused_by_who_never_saw_it(seconds: int) -> None:
    """A recorded datagram means nothing later, nor one of a clock that is far ahead."""
    datagram = a_seal(1).seal(b"ping", NOW_MS + 1000 * seconds)
    assert refused(a_seal(2), datagram) == "old"
    closer = a_seal(1).seal(b"ping", NOW_MS + 1000 * (seconds + (1 if seconds < 0 else -1)))
    assert a_seal(2).open(closer, NOW_MS) == b"ping"


def test_another_key_is_named() -> None:
    """What was sealed with a key that is not in the ring is refused by that key's name."""
    with pytest.raises(RefusedSealError, match=key_id(TWO).hex()):
        a_seal(1).open(a_seal(2, TWO).seal(b"ping", NOW_MS), NOW_MS)
    assert refused(a_seal(1), b"\x88\x00plain") == "unsealed"
    assert refused(a_seal(1), b"") == "unsealed"


def test_keys_are_changed_without_a_gap() -> None:
    """Add, use, drop: at each step who is a step ahead and who is behind hear each other."""
    steps = [(ONE,), (ONE, TWO), (TWO, ONE), (TWO,)]
    ahead, behind = a_seal(1, *steps[0]), a_seal(2, *steps[0])
    for keys in steps[1:]:
        ahead.use(keys)
        assert behind.open(ahead.seal(b"a", NOW_MS), NOW_MS) == b"a"
        assert ahead.open(behind.seal(b"b", NOW_MS), NOW_MS) == b"b"
        behind.use(keys)
    assert refused(ahead, a_seal(3, ONE).seal(b"c", NOW_MS)) == "unknown_key"


def test_a_change_of_keys_forgets_no_number() -> None:
    """What came before the keys were read again is refused after it, too."""
    sender, receiver = a_seal(1), a_seal(2)
    datagram = sender.seal(b"ping", NOW_MS)
    receiver.open(datagram, NOW_MS)
    receiver.use((ONE, TWO))
    assert refused(receiver, datagram) == "replayed"


def test_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room a new session is refused; those that are too old to be repeated make room."""
    assert SESSIONS_MAX >= 20_000
    monkeypatch.setattr("mesh.runtime.sealing.SESSIONS_MAX", 3)
    receiver = a_seal(9)
    for seed in range(3):
        receiver.open(a_seal(seed).seal(b"", NOW_MS), NOW_MS)
    assert refused(receiver, a_seal(3).seal(b"", NOW_MS)) == "sessions"
    later_ms = NOW_MS + 1000 * (2 * CLOCK_S_MAX + 1)
    assert receiver.open(a_seal(4).seal(b"x", later_ms), later_ms) == b"x"


def greet(opener: Seal, accepter: Seal) -> tuple[Channel, Channel]:
    """Return both sides' channels of a stream."""
    hello = opener.hello()
    assert len(hello) == HELLO_BYTES
    answer, accepted = accepter.answer(hello)
    assert accepted is not None
    assert len(answer) == 1 + RANDOM_BYTES
    return opener.channel(hello, answer), accepted


def test_a_stream_goes_both_ways() -> None:
    """Frames of each side come out at the other in their order, each longer by a tag."""
    ours, theirs = greet(a_seal(1), a_seal(2, TWO, ONE))
    for frame in (b"question", b"", bytes(100_000)):
        assert len(ours.seal(frame)) == len(frame) + TAG_BYTES
        ours, theirs = greet(a_seal(1), a_seal(2))
        assert theirs.open(ours.seal(frame)) == frame
        assert ours.open(theirs.seal(frame)) == frame


def test_frames_of_a_stream_mean_nothing_elsewhere() -> None:
    """A frame repeated, sent back, out of its order, or on another stream is refused."""
    one, two = greet(a_seal(1), a_seal(2)), greet(a_seal(1), a_seal(3))
    first, second = one[0].seal(b"first"), one[0].seal(b"second")
    for channel, frame in ((two[1], first), (one[0], first), (one[1], second)):
        with pytest.raises(RefusedSealError):
            channel.open(frame)
    ours, theirs = greet(a_seal(1), a_seal(2))
    frame = ours.seal(b"x")
    assert theirs.open(frame) == b"x"
    with pytest.raises(RefusedSealError):
        theirs.open(frame)


def test_a_hello_of_another_key_is_answered_so() -> None:
    """Who opens a stream with a key that is not in the ring is told, and gets no channel."""
    assert a_seal(1).answer(a_seal(2, TWO).hello()) == (UNKNOWN_KEY, None)
