"""Our codec against kio's, an independent one, over every API and version that we declare."""

import dataclasses
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from kio.schema.index import api_key_map, schema_name_map
from kio.static.protocol import Entity

from mesh.wire import (
    API_NAMES,
    Message,
    decode,
    encode_response,
    request_class,
    response_class,
)
from tests.mesh.wire.kio_oracle import (
    Draw,
    Style,
    draw_message,
    kio_class,
    kio_decode,
    kio_encode,
    to_ours,
    unwrap,
)

OTHERS_KEYS = {
    **dict.fromkeys((71, 72), "client telemetry: hidden by Kafka too without a receiver"),
    **dict.fromkeys((76, 77, 78, 79, 90, 91, 92), "share groups: a later tier"),
    **dict.fromkeys((83, 84, 85, 86, 87), "share group persister: between JVM brokers only"),
    **dict.fromkeys((88, 89), "streams groups: a later tier"),
    **dict.fromkeys((52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82), "between JVM nodes only"),
}
"""Keys that kio has and we do not declare, and why."""

OTHERS_VERSIONS = {(22, 6): "InitProducerId v6 is KIP-939, unstable in Kafka 4.3"}
"""Versions that kio has and we do not declare, and why."""


def kio_pairs() -> list[tuple[int, int, str]]:
    """Every (key, version, side) that kio has in our tiers."""
    return [
        (api_key, version, entity.name)
        for api_key, name in api_key_map.items()
        if api_key not in OTHERS_KEYS
        for version, sides in schema_name_map[name].items()
        if (api_key, version) not in OTHERS_VERSIONS
        for entity in sides
    ]


def our_class(api_key: int, side: str) -> type[Message]:
    return request_class(api_key) if side == "request" else response_class(api_key)


def test_declared_are_exactly_kios_versions() -> None:
    """We declare the keys and versions that kio has, but for those named here with a reason."""
    theirs = set(kio_pairs())
    ours = {
        (api_key, version, side)
        for api_key in API_NAMES
        for side in ("request", "response")
        for version in _versions(our_class(api_key, side))
    }
    assert ours == theirs
    assert set(api_key_map) >= set(OTHERS_KEYS), "an exception that is none"
    for api_key, version in OTHERS_VERSIONS:
        assert version in schema_name_map[api_key_map[api_key]], "an exception that is none"


def test_flexible_versions_are_kios() -> None:
    """A version has compact lengths and tags exactly where kio says so."""
    for api_key, version, side in kio_pairs():
        theirs = kio_class(api_key, version, side)
        is_flexible = version >= our_class(api_key, side).FLEXIBLE_FROM
        assert is_flexible == theirs.__flexible__, (api_key, version)


@pytest.mark.parametrize("rounds", [4, pytest.param(80, marks=pytest.mark.slow)])
def test_bytes_and_values_are_kios(rounds: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Random messages of every key and version have kio's bytes and kio's values, both ways.

    Of each there is one that is full, one hollow, one bare, and `rounds` that are mixed.
    """
    messages = tagged_count = null_count = 0
    pairs = kio_pairs()
    for api_key, version, side in pairs:
        seen: Counter[tuple[str, str]] = Counter()
        nulls: Counter[tuple[str, str]] = Counter()
        for theirs in _samples(api_key, version, side, rounds, seen):
            _assert_same(theirs, our_class(api_key, side), version)
            _count_nulls(theirs, nulls)
            messages += 1
        for cls, f in _all_fields(kio_class(api_key, version, side)):
            where = f"{api_key} v{version} {side}: {cls.__name__}.{f.name}"
            assert seen[cls.__name__, f.name], f"{where} was only ever its default"
            if unwrap(f.type)[1]:
                assert nulls[cls.__name__, f.name], f"{where} was never null"
                null_count += 1
            tagged_count += "tag" in f.metadata
    assert len(pairs) == len(set(pairs)) > 500
    with capsys.disabled():
        print(
            f"\nwire: {messages} messages of {len(pairs)} (key, version, side) agree with kio, "
            f"{tagged_count} tagged and {null_count} nullable fields among them"
        )


def _versions(cls: type[Message]) -> range:
    return range(cls.VERSIONS[0], cls.VERSIONS[1] + 1)


def _samples(
    api_key: int, version: int, side: str, rounds: int, seen: Counter[tuple[str, str]]
) -> Iterator[Entity]:
    rng = random.Random(f"{api_key} {version} {side}")
    for style in (Style.FULL, Style.HOLLOW, Style.BARE, *[Style.MIXED] * rounds):
        draw = Draw(rng, style)
        yield draw_message(kio_class(api_key, version, side), draw)
        seen.update(draw.seen)


def _assert_same(theirs: Entity, cls: type[Message], version: int) -> None:
    body = kio_encode(theirs)
    ours = to_ours(theirs, cls)
    assert isinstance(ours, cls)
    frame = b"".join(map(_as_bytes, encode_response(ours, version, 7)))
    has_tag_byte = version >= cls.FLEXIBLE_FROM and cls.API_KEY != 18
    assert frame[9 if has_tag_byte else 8 :] == body
    assert decode(cls, body, 0, version) == ours
    assert decode(cls, memoryview(b"**" + body), 2, version) == ours
    assert kio_decode(type(theirs), body) == theirs


def _as_bytes(part: object) -> bytes:
    assert isinstance(part, bytes | bytearray | memoryview)
    return bytes(part)


def _all_fields(cls: type[Entity]) -> Iterator[tuple[type[Entity], dataclasses.Field[object]]]:
    for f in dataclasses.fields(cls):
        yield cls, f
        if "kafka_type" not in f.metadata:
            yield from _all_fields(unwrap(f.type)[2])


def _count_nulls(message: Entity, nulls: Counter[tuple[str, str]]) -> None:
    for f in dataclasses.fields(message):
        value = getattr(message, f.name)
        if value is None:
            nulls[type(message).__name__, f.name] += 1
        elif "kafka_type" not in f.metadata:
            for element in value if isinstance(value, tuple) else (value,):
                _count_nulls(element, nulls)
