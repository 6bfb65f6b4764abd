"""Kafka's own tools for groups, 4.3.1, say of a node of ours what they say of Kafka's broker."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.interop import toolchain
from tests.interop.members.pages import FILE, NAMES, play
from tests.interop.members.tools import Printed, Tools, tools

pytestmark = pytest.mark.skipif(toolchain.java_missing() is not None, reason="no Java or Maven")


@pytest.fixture(scope="module")
def shared() -> Iterator[Tools]:
    """One JVM for the calls of all tests."""
    with tools() as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_tools_see_what_they_see_of_kafka(name: str, shared: Tools) -> None:
    """Every call prints what it prints where Kafka's own broker is asked."""
    expected = json.loads(FILE.read_text())[name]
    printed = play("mesh", name, shared)
    differing = {
        label: (expected.get(label), printed.get(label))
        for label in expected | printed
        if expected.get(label) != printed.get(label)
    }
    assert differing == {}


def test_what_a_tool_prints_is_made_plain() -> None:
    """Ids, addresses, widths, order and the log of Java's clients are not compared."""
    text = (
        "GROUP  HOST\n"
        "live   consumer-1-0c0a4f5e-5ba1-4f0e-a12d-1a2b3c4d5e6f  127.0.0.1:9092 (1)\n"
        "new    QbHq9xyzTNaGzjWlhVbM8w   x\n\n"
        "12:00:01.123 [main] WARN org.apache.kafka.Client - gone\n"
        "\tat org.apache.kafka.Tool.main(Tool.java:1)\n"
    )
    plain = ["GROUP HOST", "live MEMBER ADDRESS (1)", "new MEMBER x"]
    assert Printed(0, text).lines() == plain
