"""Both brokers are asked the same; what they answer differently is declared, or a fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from mesh.wire import request_class
from mesh.wire.schemas.api_versions import ApiVersionsRequest, ApiVersionsResponse
from tests.interop.differential import page
from tests.interop.differential.cases import CASES, DIFFERENCES, Case, Difference, load, run
from tests.interop.differential.talk import Connection, warm_up
from tests.interop.jvm import JvmBroker
from tests.interop.node import MeshNode

load()


@dataclass(slots=True)
class Brokers:
    """Both brokers, and what a session of tests has found so far."""

    kafka_port: int
    our_port: int
    our_apis: set[str]
    asked: set[tuple[str, int]] = field(default_factory=set)
    explained: set[Difference] = field(default_factory=set)


def apis_served(port: int) -> set[str]:
    """Return the names of the APIs that a broker advertises and we have declared."""
    connection = Connection(port)
    answer = connection.ask(ApiVersionsRequest(), 0)
    connection.close()
    assert isinstance(answer, ApiVersionsResponse)
    return {request_class(row.api_key).__name__.removesuffix("Request") for row in answer.api_keys}


@pytest.fixture(scope="session")
def brokers(jvm: JvmBroker, mesh_node: MeshNode) -> Brokers:
    """Both brokers, ready to be asked."""
    warm_up(jvm.port)
    warm_up(mesh_node.port)
    return Brokers(jvm.port, mesh_node.port, apis_served(mesh_node.port))


def questions() -> Iterator[ParameterSet]:
    """Give each case with its sample of versions, and apart from it with all the others."""
    for one in CASES.values():
        sample = one.some_versions
        others = [version for version in one.versions if version not in sample]
        yield pytest.param(one, sample, id=one.name)
        if others:
            yield pytest.param(
                one, others, id=f"{one.name}, other versions", marks=pytest.mark.slow
            )


@pytest.mark.parametrize(("one", "versions"), list(questions()))
def test_case(one: Case, versions: list[int], brokers: Brokers) -> None:
    """Whatever the two answer differently is declared, with its reason."""
    if one.api not in brokers.our_apis:
        pytest.skip(f"{one.api} is not served: docs/compatibility.md lists it")
    undeclared = []
    for seen in run(one, versions, brokers.kafka_port, brokers.our_port):
        rows = [row for row in DIFFERENCES if row.explains(seen)]
        brokers.explained.update(rows)
        if not rows:
            undeclared.append(str(seen))
    brokers.asked.update((one.name, version) for version in versions)
    assert not undeclared, "\n".join(undeclared)


def test_every_declared_difference_still_occurs(brokers: Brokers) -> None:
    """A declared difference that no longer shows itself is to be struck out."""
    could_show = {row for row in DIFFERENCES if brokers.asked & places_of(row)}
    if len({name for name, _ in brokers.asked}) < len(CASES) - len(unserved(brokers)):
        pytest.skip("not all cases were asked in this session")
    gone = could_show - brokers.explained
    assert not gone, "\n".join(map(str, gone))


def places_of(row: Difference) -> set[tuple[str, int]]:
    """Return each case that a row speaks of, with the last version that it speaks of.

    A field may be younger than the first version, but none that we compare was ever taken out.
    """
    return {
        (one.name, max(versions))
        for one in CASES.values()
        if (versions := [version for version in one.versions if row.concerns(one, version)])
    }


def unserved(brokers: Brokers) -> list[Case]:
    """Return the cases of APIs that we do not serve yet."""
    return [one for one in CASES.values() if one.api not in brokers.our_apis]


def test_every_version_of_an_api_is_asked() -> None:
    """The short forms of an API's cases, taken together, ask every version."""
    for api in {one.api for one in CASES.values()}:
        ours = [one for one in CASES.values() if one.api == api]
        asked = {version for one in ours for version in one.some_versions}
        assert asked == {version for one in ours for version in one.versions}, api


def test_every_api_served_has_cases(mesh_node: MeshNode) -> None:
    """No API is advertised whose answers nobody compares."""
    assert apis_served(mesh_node.port) <= {one.api for one in CASES.values()}


def test_page_is_current() -> None:
    """docs/compatibility.md is what the declarations say."""
    assert page.render() == Path(page.PATH).read_text(), "renew it: see its first lines"
