"""The partitioner chooses what every other Kafka client chooses."""

import random

import pytest
from aiokafka.partitioner import murmur2 as murmur2_of_aiokafka

from mesh.client.partitioner import StickyPartitioner, murmur2, partition_of_key

# From the tests of Apache Kafka's Utils.murmur2, as signed numbers.
KAFKAS_OWN = [
    (b"21", -973932308),
    (b"foobar", -790332482),
    (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107),
]


@pytest.mark.parametrize(("key", "expected"), KAFKAS_OWN)
def test_murmur2_gives_kafkas_own_values(key: bytes, expected: int) -> None:
    """The hash is the one that Kafka's own tests pin down."""
    assert expected & 0xFFFFFFFF == murmur2(key)


@pytest.mark.parametrize("length", range(40))
def test_murmur2_agrees_with_another_client_at_every_length(length: int) -> None:
    """Whatever the tail's length, aiokafka hashes a key to the same number."""
    key = random.Random(length).randbytes(length)
    assert murmur2_of_aiokafka(key) & 0xFFFFFFFF == murmur2(key)


def test_a_key_is_hashed_alike_as_any_kind_of_buffer() -> None:
    """bytes, bytearray and memoryview of one content go to one partition."""
    key = b"N12345"
    assert partition_of_key(key, 7) == partition_of_key(bytearray(key), 7)
    assert partition_of_key(key, 7) == partition_of_key(memoryview(key), 7)


def test_records_without_a_key_fill_one_partition_before_the_next() -> None:
    """A run of records stays together until it is a batch's worth, and all get their turn."""
    sticky = StickyPartitioner(run_bytes=100, first=2)
    assert [sticky.choose(50, 3) for _ in range(7)] == [2, 2, 0, 0, 1, 1, 2]
