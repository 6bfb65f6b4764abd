"""Whole frames: headers around bodies, and the compiled codecs behind one door."""

import struct
from functools import cache
from struct import Struct as Layout
from typing import Final, NamedTuple, TypeVar

from mesh.wire.catalogue import API_NAMES, request_class
from mesh.wire.decoder import compile_decoder
from mesh.wire.encoder import compile_encoder
from mesh.wire.message import Decoder, Encoder, Message
from mesh.wire.primitives import skip_tags, uvarint_rest
from mesh.wire.types import NEVER, Part, WireError
from storage.types import Buffer

M = TypeVar("M", bound=Message)

API_VERSIONS_KEY: Final = 18
"""Its responses have header version 0 always: the asker may not know any other (KIP-511)."""

_REQUEST_HEAD: Final = Layout(">hhih")  # api key, api version, correlation id, client id length
_FRAMED_REQUEST_HEAD: Final = Layout(">ihhih")
_FRAMED_RESPONSE_HEAD: Final = Layout(">ii")
_FLEXIBLE_RESPONSE_HEAD: Final = Layout(">iiB")
_STORED_VERSION: Final = Layout(">h")
_CORRELATION_ID: Final = Layout(">i")
_UNDECODABLE: Final = (IndexError, struct.error, UnicodeDecodeError)
_UNENCODABLE: Final = (AttributeError, TypeError, struct.error, UnicodeEncodeError)


class RequestHeader(NamedTuple):
    """What stands before every request's body."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None


def read_request_header(frame: Buffer) -> tuple[RequestHeader, int]:
    """Read the header of a frame (without its length prefix).

    An unknown version is read as its nearest declared one would be, an unknown key like header
    version 1: enough to say in the log who asked for what.

    Returns:
        the header, and where the body begins.

    Raises:
        WireError: these bytes are no request header.
    """
    try:
        api_key, version, correlation_id, length = _REQUEST_HEAD.unpack_from(frame)
        position = _REQUEST_HEAD.size
        client_id = None
        if length >= 0:
            client_id = str(frame[position : position + length], "utf-8")
            position += length
        if version >= _flexible_from(api_key):
            position = _skip_header_tags(frame, position)
        if position > len(frame):
            raise WireError("the frame ends within the request header")
    except _UNDECODABLE as error:
        raise WireError(f"not a request header: {error}") from error
    return RequestHeader(api_key, version, correlation_id, client_id), position


def decode(cls: type[M], frame: Buffer, position: int, version: int) -> M:
    """Read a body that begins at `position`; bytes behind it are ignored, as Kafka does.

    Records are memoryviews of `frame`, which must not change while they are held.

    Raises:
        WireError: these bytes are no such message, or the version is not declared.
    """
    decoder = cls.DECODERS.get(version) or _new_decoder(cls, version)
    try:
        return decoder(frame, position, len(frame))
    except _UNDECODABLE as error:
        raise WireError(f"not a {cls.__name__} v{version}: {error}") from error


def decode_stored(cls: type[M], data: Buffer) -> M:
    """Read what `encode_stored` wrote: the version, then the body.

    Raises:
        WireError: these bytes are no such message, or of a version that is not declared.
    """
    if len(data) < _STORED_VERSION.size:
        raise WireError(f"{len(data)} bytes are not a {cls.__name__}")
    return decode(cls, data, _STORED_VERSION.size, _STORED_VERSION.unpack_from(data)[0])


def encode_stored(message: Message, version: int) -> bytes:
    """Return a message as Kafka stores one in a record: the version, then the body.

    Raises:
        WireError: as for `encode_response`.
    """
    begin, rest = _encode_body(message, version)
    assert not rest, "what is stored in a record holds no records"
    return _STORED_VERSION.pack(version) + begin


def encode_response(message: Message, version: int, correlation_id: int) -> list[Part]:
    """Return a whole response frame, length prefix included, as parts to send in order.

    Raises:
        WireError: a value does not fit its type, or is None where this version has no null.
    """
    begin, rest = _encode_body(message, version)
    size = len(begin) + sum(map(len, rest)) if rest else len(begin)
    if version >= message.FLEXIBLE_FROM and message.API_KEY != API_VERSIONS_KEY:
        head = _FLEXIBLE_RESPONSE_HEAD.pack(size + 5, correlation_id, 0)
    else:
        head = _FRAMED_RESPONSE_HEAD.pack(size + 4, correlation_id)
    return [head + begin, *rest]


def encode_request(
    message: Message, version: int, correlation_id: int, client_id: str | None
) -> list[Part]:
    """Return a whole request frame, length prefix included, as parts to send in order.

    Raises:
        WireError: as for `encode_response`; or a client id of more than 32,767 bytes.
    """
    begin, rest = _encode_body(message, version)
    try:
        name = b"" if client_id is None else client_id.encode()
        tags = b"\0" if version >= message.FLEXIBLE_FROM else b""
        head = _FRAMED_REQUEST_HEAD.pack(
            _REQUEST_HEAD.size + len(name) + len(tags) + len(begin) + sum(map(len, rest)),
            message.API_KEY,
            version,
            correlation_id,
            -1 if client_id is None else len(name),
        )
    except _UNENCODABLE as error:
        raise WireError(f"not a client id: {error}") from error
    return [head + name + tags + begin, *rest]


def read_response(cls: type[M], frame: Buffer, version: int) -> tuple[int, M]:
    """Read a response frame (without its length prefix): (correlation id, message).

    Raises:
        WireError: these bytes are no such response.
    """
    try:
        (correlation_id,) = _CORRELATION_ID.unpack_from(frame)
        position = _CORRELATION_ID.size
        if version >= cls.FLEXIBLE_FROM and cls.API_KEY != API_VERSIONS_KEY:
            position = _skip_header_tags(frame, position)
    except _UNDECODABLE as error:
        raise WireError(f"not a response header: {error}") from error
    return correlation_id, decode(cls, frame, position, version)


@cache
def _flexible_from(api_key: int) -> int:
    return request_class(api_key).FLEXIBLE_FROM if api_key in API_NAMES else NEVER


def _skip_header_tags(frame: Buffer, position: int) -> int:
    """No header has a tag that we know."""
    count = frame[position]
    position += 1
    if count > 127:
        count, position = uvarint_rest(frame, position, count)
    return skip_tags(frame, position, count, len(frame)) if count else position


def _encode_body(message: Message, version: int) -> tuple[bytes, list[Part]]:
    """Return how the body begins, for a header to be put before it, and the rest as parts."""
    encoder = message.ENCODERS.get(version) or _new_encoder(type(message), version)
    out: list[bytes] = []
    parts: list[Part] = []
    try:
        encoder(message, out, parts)
    except _UNENCODABLE as error:
        raise WireError(f"no {type(message).__name__} v{version}: {error}") from error
    if not parts:
        return b"".join(out), parts
    if out:
        parts.append(b"".join(out))
    begin = parts.pop(0)
    assert isinstance(begin, bytes)  # splice() puts what stands before the records there
    return begin, parts


def _new_decoder(cls: type[M], version: int) -> Decoder[M]:
    _check_declared(cls, version)
    return cls.DECODERS.setdefault(version, compile_decoder(cls, version))


def _new_encoder(cls: type[Message], version: int) -> Encoder:
    _check_declared(cls, version)
    return cls.ENCODERS.setdefault(version, compile_encoder(cls, version))


def _check_declared(cls: type[Message], version: int) -> None:
    first, last = cls.VERSIONS
    if not first <= version <= last:
        raise WireError(f"{cls.__name__} has versions {first} to {last}, not {version}")
