"""Topic names: Kafka's rules, and what is the mesh's own."""

from __future__ import annotations

import pytest

from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.names import check_topic_name, collision_key, is_hidden, topic_name_fault


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "...", "_", "-", "x" * 249])
def test_every_legal_name_is_taken(name: str) -> None:
    """ASCII letters, digits, dot, underscore and dash, up to 249 of them, are a name."""
    assert topic_name_fault(name) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "the empty string is not allowed"),
        (".", "'.' is not allowed"),
        ("..", "'..' is not allowed"),
        ("x" * 250, "is longer than the max allowed length 249"),
        ("a b", "contains one or more characters other than ASCII alphanumerics"),
        ("a\n", "contains one or more characters other than ASCII alphanumerics"),
        ("é", "contains one or more characters other than ASCII alphanumerics"),
        ("٣", "contains one or more characters other than ASCII alphanumerics"),
    ],
)
def test_every_illegal_name_gets_kafkas_words(name: str, words: str) -> None:
    """A name that Kafka refuses is refused with code 17 and Kafka's text."""
    with pytest.raises(KafkaError, match="Topic name is invalid: ") as caught:
        check_topic_name(name)
    assert caught.value.code == ErrorCode.INVALID_TOPIC_EXCEPTION
    assert words in str(caught.value)


def test_dot_and_underscore_collide_and_nothing_else_does() -> None:
    """Names collide exactly if they are one when dots are written as underscores."""
    assert collision_key("a.b_c") == collision_key("a_b.c")
    assert collision_key("a-b") != collision_key("a_b")


def test_the_registry_is_hidden() -> None:
    """Clients see neither the registry's topic nor the name of Kafka's metadata log."""
    assert is_hidden("__registry")
    assert is_hidden("__cluster_metadata")
    assert not is_hidden("__consumer_offsets")
