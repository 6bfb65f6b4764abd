"""The two real brokers, each at most once in a session of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.jvm import JvmBroker, jvm_broker, missing
from tests.interop.node import MeshNode, mesh_node_process


@pytest.fixture(scope="session")
def jvm() -> Iterator[JvmBroker]:
    """One JVM broker 4.3.1 for the whole session; skips where Java or Maven is missing."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with jvm_broker() as broker:
        yield broker


@pytest.fixture(scope="session")
def mesh_node() -> Iterator[MeshNode]:
    """One node of ours, or as many as GOSSAMER_NODES says, for the whole session.

    A test that breaks it runs its own.
    """
    with mesh_node_process() as node:
        yield node


@pytest.fixture(params=["mesh", "jvm"])
def bootstrap(request: pytest.FixtureRequest) -> str:
    """Address of a running broker: ours, then the JVM's."""
    return _address(request)


@pytest.fixture(params=["mesh", pytest.param("jvm", marks=pytest.mark.slow)])
def bootstrap_or_slow(request: pytest.FixtureRequest) -> str:
    """The same, for tests that take many seconds: the JVM's only in the long form."""
    return _address(request)


def _address(request: pytest.FixtureRequest) -> str:
    fixture = "mesh_node" if request.param == "mesh" else "jvm"
    address: str = request.getfixturevalue(fixture).bootstrap
    return address
