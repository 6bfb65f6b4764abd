"""Records as text and back: nothing is lost and nothing is invented."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.client import Record, TopicPartition
from tools.records import NewRecord, formatter, json_line, parse_json, parse_line, unescape

PLACE = TopicPartition("topic", 3)
RECORD = Record(42, 1_700_000_000_000, b"key", b"value", [("a", b"1"), ("b", None)])
NOTHING = Record(43, 0, None, None, [])

contents = st.none() | st.binary(max_size=40) | st.text(max_size=20).map(str.encode)
# Header names as they come from the wire: bytes that are no UTF-8 are surrogate escapes.
names = st.binary(max_size=12).map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@given(
    key=contents,
    value=contents,
    headers=st.lists(st.tuples(names, contents), max_size=3),
    timestamp_ms=st.integers(-1, 2**63 - 1),
    all_base64=st.booleans(),
)
def test_a_line_of_json_holds_the_whole_record(
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes | None]],
    timestamp_ms: int,
    all_base64: bool,
) -> None:
    """What consume writes, produce reads back to the same key, value, headers and time."""
    record = Record(7, timestamp_ms, key, value, headers)
    line = json_line(PLACE, record, all_base64=all_base64)
    assert line.count(b"\n") == 1
    assert NewRecord(key, value, headers, timestamp_ms) == parse_json(line)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("value", b"value\n"),
        ("raw", b"value"),
        ("key-value", b"key:value\n"),
        ("%t %p %o %T %k %s %h %%|", b"topic 3 42 1700000000000 key value a=1,b= %|"),
        ("%s\\n\\x00\\t%k", b"value\n\0\tkey"),
    ],
)
def test_each_format_writes_what_it_says(name: str, expected: bytes) -> None:
    """The formats differ in what they add around key and value, never in these."""
    assert expected == formatter(name, b":", b"", all_base64=False)(PLACE, RECORD)


def test_null_is_written_as_asked() -> None:
    """A null key or value can be told from an empty one."""
    write = formatter("key-value", b":", b"NULL", all_base64=False)
    assert write(PLACE, NOTHING) == b"NULL:NULL\n"
    document = json.loads(json_line(PLACE, NOTHING, all_base64=True))
    assert (document["key"], document["value"]) == (None, None)


@pytest.mark.parametrize("name", ["xml", "%z", "%", "values"])
def test_an_unknown_format_is_refused(name: str) -> None:
    """Neither a name nor a token is guessed."""
    with pytest.raises(ValueError, match=name):
        formatter(name, b"", b"", all_base64=False)


def test_a_line_is_cut_at_its_first_separator() -> None:
    """The value may hold the separator again; a line without one is refused."""
    assert parse_line(b"k:v:w", b":") == NewRecord(b"k", b"v:w")
    assert parse_line(b"k:v", None) == NewRecord(None, b"k:v")
    with pytest.raises(ValueError, match="separator"):
        parse_line(b"kv", b":")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{",
        b"{}",
        b'{"value":1}',
        b'{"value_base64":"*"}',
        b'{"value_base64":1}',
        b'{"value":"x","timestamp_ms":"now"}',
        b'{"value":"x","timestamp_ms":true}',
        b'{"value":"x","timestamp_ms":9223372036854775808}',
        b'{"value":"x","headers":{}}',
        b'{"value":"x","headers":[1]}',
        b'{"value":"x","headers":[{"value":"no name"}]}',
        b'{"value":"\\ud800"}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_what_is_no_record_is_refused(line: bytes) -> None:
    """Any other line is a ValueError whose text does not repeat the contents."""
    with pytest.raises(ValueError, match=r"^(is|has) "):
        parse_json(line)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\\t", b"\t"),
        ("\\n\\r\\0\\\\", b"\n\r\0\\"),
        ("\\xff\\x00", b"\xff\0"),
        ("\\q", b"\\q"),
        ("\\\\n", b"\\n"),
        ("é", "é".encode()),
    ],
)
def test_escapes_are_what_shells_cannot_type(text: str, expected: bytes) -> None:
    """A backslash before anything else stays as it is."""
    assert expected == unescape(text)
