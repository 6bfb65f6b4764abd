"""Records as text and back: the formats of `mesh consume` and `mesh produce`. Pure.

A line of JSON that `consume` wrote, `produce` reads back to the same key, value, headers and
timestamp. What is not UTF-8 stands base64-encoded under `…_base64`, so that nothing is lost.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mesh.client import Record, TopicPartition

Formatter: TypeAlias = Callable[[TopicPartition, Record], bytes]

ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"0": b"\0", b"\\": b"\\"}
TOKENS = (
    "%s value, %k key, %h headers, %T timestamp (ms)",
    "%t topic, %p partition, %o offset, %% a percent sign",
)
TIMESTAMP_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class NewRecord:
    """What `produce` makes of a piece of its input."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp_ms: int | None = None


# What consume writes.


def formatter(name: str, key_separator: bytes, null: bytes, *, all_base64: bool) -> Formatter:
    """Return the function that writes one record.

    Args:
        name: value, key-value, json, raw, or a pattern with % tokens.
        key_separator: between key and value in key-value.
        null: what stands for a key or value that is null, except in json.
        all_base64: json only: base64 for everything, not just for what is not UTF-8.

    Raises:
        ValueError: no such format, or a pattern with an unknown token.
    """
    match name:
        case "value":
            return lambda _, record: _or(record.value, null) + b"\n"
        case "raw":
            return lambda _, record: record.value or b""
        case "key-value":
            return lambda _, record: (
                _or(record.key, null) + key_separator + _or(record.value, null) + b"\n"
            )
        case "json":
            return lambda place, record: json_line(place, record, all_base64=all_base64)
        case _ if "%" in name:
            return _pattern(name, null)
        case _:
            raise ValueError(
                f"{name!r} is not value, key-value, json, raw or a pattern with {', '.join(TOKENS)}"
            )


def json_line(place: TopicPartition, record: Record, *, all_base64: bool) -> bytes:
    """Return a record as one line of JSON."""
    document: dict[str, object] = {
        "topic": place.topic,
        "partition": place.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
    }
    _put(document, "key", record.key, all_base64)
    _put(document, "value", record.value, all_base64)
    headers = []
    for name, content in record.headers:
        header: dict[str, object] = {"name": name}
        _put(header, "value", content, all_base64)
        headers.append(header)
    document["headers"] = headers
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    # A header name that is not UTF-8 holds surrogates, which JSON can write as \\udcXX.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _put(document: dict[str, object], name: str, content: bytes | None, all_base64: bool) -> None:
    if content is not None and not all_base64:
        try:
            document[name] = content.decode()
        except UnicodeDecodeError:
            all_base64 = True
    elif content is None:
        document[name] = None
    if content is not None and all_base64:
        document[f"{name}_base64"] = base64.b64encode(content).decode()


def _or(content: bytes | None, null: bytes) -> bytes:
    return null if content is None else content


def _pattern(pattern: str, null: bytes) -> Formatter:
    pieces: list[Formatter] = []
    for literal, token in re.findall(r"([^%]+)|%(.?)", pattern, re.DOTALL):
        if literal:
            pieces.append(_literal(unescape(literal)))
        elif token in _TOKENS:
            pieces.append(_TOKENS[token])
        elif token == "s":  # noqa: S105 - no password
            pieces.append(lambda _, record: _or(record.value, null))
        elif token == "k":  # noqa: S105
            pieces.append(lambda _, record: _or(record.key, null))
        else:
            raise ValueError(f"%{token} is not one of {', '.join(TOKENS)}")
    return lambda place, record: b"".join(piece(place, record) for piece in pieces)


def _literal(text: bytes) -> Formatter:
    return lambda _place, _record: text


def _headers(_: TopicPartition, record: Record) -> bytes:
    pairs = (
        name.encode("utf-8", "surrogateescape") + b"=" + (content or b"")
        for name, content in record.headers
    )
    return b",".join(pairs)


_TOKENS: dict[str, Formatter] = {
    "%": _literal(b"%"),
    "t": lambda place, _: place.topic.encode(),
    "p": lambda place, _: b"%d" % place.partition,
    "o": lambda _, record: b"%d" % record.offset,
    "T": lambda _, record: b"%d" % record.timestamp_ms,
    "h": _headers,
}


def unescape(text: str) -> bytes:
    r"""Return text with \n, \t, \r, \0, \\ and \xHH replaced; other backslashes stay."""

    def replace(found: re.Match[bytes]) -> bytes:
        return ESCAPES[found[1]] if found[1] else bytes.fromhex(found[2].decode())

    raw = text.encode("utf-8", "surrogateescape")
    return re.sub(rb"\\(?:([ntr0\\])|x([0-9a-fA-F]{2}))", replace, raw)


# What produce reads.


def parse_line(line: bytes, key_separator: bytes | None) -> NewRecord:
    """Return the record of one line without its newline.

    Raises:
        ValueError: a separator is wanted and not there.
    """
    if key_separator is None:
        return NewRecord(None, line)
    key, found, value = line.partition(key_separator)
    if not found:
        raise ValueError(f"has no key separator {key_separator.decode(errors='replace')!r}")
    return NewRecord(key, value)


def parse_json(line: bytes) -> NewRecord:
    """Return the record of one line of JSON as `json_line` writes it.

    Its topic, partition and offset are not looked at.

    Raises:
        ValueError: it is no such line; the text says why and never quotes contents.
    """
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"is not JSON{where}") from None
    if not isinstance(document, dict):
        raise ValueError("is not a JSON object")
    timestamp_ms = document.get("timestamp_ms")
    if timestamp_ms is not None and (
        type(timestamp_ms) is not int or not -1 <= timestamp_ms <= TIMESTAMP_MAX
    ):
        raise ValueError("has a timestamp_ms that is not milliseconds")
    if not any(name in document for name in ("value", "value_base64", "key", "key_base64")):
        raise ValueError("has none of value, value_base64, key, key_base64")
    headers = document.get("headers")
    headers = [] if headers is None else headers
    if not isinstance(headers, list) or not all(isinstance(item, dict) for item in headers):
        raise ValueError("has headers that are not a list of objects")
    return NewRecord(
        _get(document, "key"),
        _get(document, "value"),
        [_header(item) for item in headers],
        timestamp_ms,
    )


def _header(item: dict[str, object]) -> tuple[str, bytes | None]:
    name = item.get("name")
    if not isinstance(name, str):
        raise ValueError("has a header without a name")
    return name, _get(item, "value")


def _get(document: dict[str, object], name: str) -> bytes | None:
    encoded = document.get(f"{name}_base64")
    if encoded is not None:
        if not isinstance(encoded, str):
            raise ValueError(f"has a {name}_base64 that is not text")
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"has a {name}_base64 that is not base64") from None
    plain = document.get(name)
    if plain is None:
        return None
    if not isinstance(plain, str):
        raise ValueError(f"has a {name} that is neither text nor null")
    try:
        return plain.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError(f"has a {name} that is not Unicode") from None
