"""What members say to one another, sealed with a cluster key: nobody else reads or forges it.

ChaCha20-Poly1305 (RFC 8439) under keys that HKDF-SHA256 (RFC 5869) derives from the cluster key:
one for each start of a sender (its session), one for each direction of each stream. The number of
a datagram in its session is the nonce, so none is used twice.

A datagram is `format | key id | session | number | sealed(seconds | message)`. Each member takes
each number of a session once, and only while its clock and the sender's differ by no more than
`CLOCK_S_MAX`. So the repetition of a datagram that a member has had is refused for ever; one that
it never had, or had before it started anew, is refused after that time, and what it says until
then is news of the same minute, which gossip would have brought as well.

A stream begins with 24 random bytes of each side, which its keys come from: nothing that was said
on one stream means anything on another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

KEY_BYTES = 32
KEY_ID_BYTES = 4
SESSION_BYTES = 12
TAG_BYTES = 16
SEALED: Final = 0xE1
"""First byte of a sealed datagram; a plain one begins with a CBOR array, 0x80 to 0x9f."""
_HEAD = Struct(f">B{KEY_ID_BYTES}s{SESSION_BYTES}sHI")
_STAMP = Struct(">I")
OVERHEAD_BYTES = _HEAD.size + _STAMP.size + TAG_BYTES
"""By which a sealed datagram is longer."""
CLOCK_S_MAX = 60
"""Between the wall clocks of two members. Hosts that keep time differ by milliseconds."""
WINDOW = 8_192
"""So many of a session's newest numbers are known as come or not. A sender counts over all whom it
writes to, so what comes late is late by as much as it says to all meanwhile."""
SESSIONS_MAX = 65_536
"""Known at a time. Only who has the key makes one; without room a new one is refused."""

STREAM_MAGIC = b"\xffGS1"
"""How a sealed stream begins; as the length of a frame it would be out of bounds."""
RANDOM_BYTES = 24
HELLO_BYTES = len(STREAM_MAGIC) + KEY_ID_BYTES + RANDOM_BYTES
CALL_OVERHEAD_BYTES = 2 * TAG_BYTES + HELLO_BYTES + 1 + RANDOM_BYTES
"""By which one question and its answer on a stream are longer."""
WELCOME, UNKNOWN_KEY, NO_KEY = b"\x00", b"\x01", b"\x02"
"""First byte of the answer to a hello; only after WELCOME there are random bytes."""


class RefusedSealError(Exception):
    """What came was not sealed by a member for now; `reason` is a short name, for counting."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def key_id(key: bytes) -> bytes:
    """Return the 4 bytes that name a key and tell nothing of it."""
    return _derive(key, b"", b"gossamer key id", KEY_ID_BYTES)


def key_id_in(hello: bytes) -> bytes:
    """Return the name of the key that a hello of HELLO_BYTES is under."""
    return hello[len(STREAM_MAGIC) : len(STREAM_MAGIC) + KEY_ID_BYTES]


class _Session:
    """One start of one sender: its key, and which of its numbers came."""

    __slots__ = ("cipher", "last_s", "newest", "seen")

    def __init__(self, cipher: ChaCha20Poly1305) -> None:
        self.cipher = cipher
        self.newest = -1
        self.seen = 0
        self.last_s = 0

    def is_new(self, number: int) -> bool:
        behind = self.newest - number
        return behind < 0 or (behind < WINDOW and not self.seen >> behind & 1)

    def take(self, number: int) -> None:
        ahead = number - self.newest
        if ahead > 0:
            self.seen = (self.seen << ahead | 1) & _WINDOW_MASK if ahead < WINDOW else 1
            self.newest = number
        else:
            self.seen |= 1 << -ahead


_WINDOW_MASK = (1 << WINDOW) - 1


class Seal:
    """A ring of cluster keys at work: the first one seals, all of them open."""

    def __init__(self, keys: Sequence[bytes], entropy: Callable[[int], bytes]) -> None:
        """Begin a session.

        Args:
            keys: at least one, each KEY_BYTES long.
            entropy: gives so many bytes that nobody can foretell.
        """
        self._entropy = entropy
        self._sessions: dict[bytes, _Session] = {}
        self.use(keys)

    def use(self, keys: Sequence[bytes]) -> None:
        """Take these keys instead, in a new session; what the old ones sealed is still known."""
        self._keys = {key_id(key): key for key in keys}
        self._own_id = key_id(keys[0])
        self._session = self._entropy(SESSION_BYTES)
        self._cipher = _cipher(_session_key(keys[0], self._session))
        self._number = 0
        self._sessions = {
            place: session
            for place, session in self._sessions.items()
            if place[:KEY_ID_BYTES] in self._keys
        }

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the keys, the one that seals first."""
        return tuple(name.hex() for name in self._keys)

    # Datagrams

    def seal(self, message: bytes, wall_ms: int) -> bytes:
        """Return a datagram, OVERHEAD_BYTES longer than the message."""
        number, self._number = self._number, self._number + 1
        head = _HEAD.pack(SEALED, self._own_id, self._session, number >> 32, number & 0xFFFFFFFF)
        plain = _STAMP.pack(wall_ms // 1000 & 0xFFFFFFFF) + message
        return head + self._cipher.encrypt(_nonce(number), plain, head)

    def open(self, datagram: bytes, wall_ms: int) -> bytes:
        """Return the message of a datagram.

        Raises:
            RefusedSealError: it is not sealed, or not with our keys, or came before, or is old.
        """
        if not datagram or datagram[0] != SEALED:
            raise RefusedSealError("unsealed", "is not sealed, and this mesh has a cluster key")
        if len(datagram) < OVERHEAD_BYTES:
            raise RefusedSealError("forged", "is too short to be sealed")
        head = datagram[: _HEAD.size]
        _, name, session_id, high, low = _HEAD.unpack(head)
        key = self._keys.get(name)
        if key is None:
            raise RefusedSealError(
                "unknown_key", f"is sealed with the cluster key {name.hex()}, which is not ours"
            )
        number = high << 32 | low
        # A number of a session is sealed under one key only, so the key's name is part of it.
        place = name + session_id
        session = self._sessions.get(place)
        if session is None:
            cipher = _cipher(_session_key(key, session_id))
        else:
            if not session.is_new(number):
                raise RefusedSealError("replayed", "came before")
            cipher = session.cipher
        plain = _opened(cipher, number, datagram[_HEAD.size :], head)
        (stamp_s,) = _STAMP.unpack_from(plain)
        now_s = wall_ms // 1000
        if abs(now_s - stamp_s) > CLOCK_S_MAX:
            raise RefusedSealError(
                "old",
                f"was sealed {abs(now_s - stamp_s)} s "
                f"{'before' if stamp_s < now_s else 'after'} our time: it is repeated, "
                "or the clocks of two machines differ",
            )
        if session is None:
            session = self._begin(place, cipher, now_s)
        session.take(number)
        session.last_s = now_s
        return plain[_STAMP.size :]

    def _begin(self, place: bytes, cipher: ChaCha20Poly1305, now_s: int) -> _Session:
        if len(self._sessions) >= SESSIONS_MAX:
            # What was sealed in a session before this long is refused for its age, so it may go.
            self._sessions = {
                one: known
                for one, known in self._sessions.items()
                if abs(now_s - known.last_s) <= 2 * CLOCK_S_MAX
            }
            if len(self._sessions) >= SESSIONS_MAX:
                raise RefusedSealError("sessions", "is of a new session, and there are too many")
        found = self._sessions[place] = _Session(cipher)
        return found

    # Streams

    def hello(self) -> bytes:
        """Return what a stream begins with, from the side that opened it."""
        return STREAM_MAGIC + self._own_id + self._entropy(RANDOM_BYTES)

    def answer(self, hello: bytes) -> tuple[bytes, Channel | None]:
        """Return the answer to a hello of HELLO_BYTES, and the channel unless it is a refusal."""
        key = self._keys.get(key_id_in(hello))
        if key is None:
            return UNKNOWN_KEY, None
        answer = WELCOME + self._entropy(RANDOM_BYTES)
        return answer, Channel(key, hello + answer, opened=False)

    def channel(self, hello: bytes, answer: bytes) -> Channel:
        """Return the channel of who said hello, from an answer that is a WELCOME."""
        return Channel(self._keys[self._own_id], hello + answer, opened=True)


class Channel:
    """One stream's frames, sealed: each side counts its own."""

    def __init__(self, key: bytes, greeting: bytes, *, opened: bool) -> None:
        """From both hellos; `opened` says which side this is."""
        ours, theirs = (b"opened", b"accepted") if opened else (b"accepted", b"opened")
        self._sealing = _cipher(_derive(key, greeting, b"gossamer stream " + ours))
        self._opening = _cipher(_derive(key, greeting, b"gossamer stream " + theirs))
        self._sent = self._received = 0

    def seal(self, frame: bytes) -> bytes:
        """Return a frame sealed, TAG_BYTES longer."""
        number, self._sent = self._sent, self._sent + 1
        return self._sealing.encrypt(_nonce(number), frame, None)

    def open(self, sealed: bytes) -> bytes:
        """Return the next frame of the other side.

        Raises:
            RefusedSealError: the other side did not seal it, or it is not its next one.
        """
        number, self._received = self._received, self._received + 1
        return _opened(self._opening, number, sealed, None)


def _session_key(key: bytes, session_id: bytes) -> bytes:
    return _derive(key, session_id, b"gossamer datagrams")


# The library is loaded with the first key, so that a start without one is not the slower for it.


def _derive(key: bytes, salt: bytes, info: bytes, length: int = KEY_BYTES) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(key)


def _cipher(key: bytes) -> ChaCha20Poly1305:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return ChaCha20Poly1305(key)


def _opened(cipher: ChaCha20Poly1305, number: int, sealed: bytes, head: bytes | None) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(_nonce(number), sealed, head)
    except InvalidTag:
        raise RefusedSealError("forged", "was not sealed by a member") from None


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")
