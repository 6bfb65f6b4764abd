"""A node of its own for the tests that mistreat one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.abuse.visitor import Producer
from tests.interop.node import MeshNode, mesh_node_process


@pytest.fixture(scope="module")
def node() -> Iterator[MeshNode]:
    """A node that nobody else uses, so that its log and its memory speak of these tests only."""
    with mesh_node_process() as running:
        yield running


@pytest.fixture
def producer(node: MeshNode, request: pytest.FixtureRequest) -> Iterator[Producer]:
    """A client that behaves; when a test ends it is served still."""
    word = "".join(c if c.isalnum() else "-" for c in request.node.name)[:200]
    good = Producer(node.port, word)
    yield good
    good.produce(3)
    good.close()
