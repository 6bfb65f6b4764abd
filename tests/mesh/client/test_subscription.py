"""The bytes of members: what Kafka's clients write is read, anything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.client import TopicPartition
from mesh.client.subscription import (
    BadMemberBytesError,
    assignment_untrusted,
    subscription_untrusted,
)


def text(word: str) -> bytes:
    return len(word).to_bytes(2, "big") + word.encode()


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big", signed=True) for value in values)


def test_an_assignment_is_sorted_partitions() -> None:
    """Two topics, and user data behind them that is not ours to read."""
    data = b"\0\3" + numbers(2) + text("u") + numbers(1, 7) + text("t") + numbers(2, 1, 0)
    found = assignment_untrusted(data + numbers(2) + b"xx")
    assert found == (TopicPartition("t", 0), TopicPartition("t", 1), TopicPartition("u", 7))


def test_a_subscription_is_sorted_topics() -> None:
    """A null list of topics is an empty one."""
    assert subscription_untrusted(b"\0\1" + numbers(2) + text("b") + text("a")) == ("a", "b")
    assert subscription_untrusted(b"\0\1" + numbers(-1)) == ()


def test_no_bytes_are_no_partitions() -> None:
    """A member that joins has no assignment yet."""
    assert (assignment_untrusted(b""), subscription_untrusted(b"")) == ((), ())


@pytest.mark.parametrize(
    "data", [b"\0", b"\0\1" + numbers(2_000_000), b"\0\1" + numbers(1) + b"\0\1\xff\0\0\0\0"]
)
def test_what_is_something_else_is_refused(data: bytes) -> None:
    """Cut off, without end, or no text."""
    with pytest.raises(BadMemberBytesError):
        assignment_untrusted(data)


@given(st.binary(max_size=40))
def test_a_strangers_bytes_raise_nothing_else(data: bytes) -> None:
    """Any bytes are read or refused."""
    for read in (assignment_untrusted, subscription_untrusted):
        try:
            read(data)
        except BadMemberBytesError:
            pass  # Which is what it is for.
