"""Every state within small bounds keeps the promises of the partition group."""

from __future__ import annotations

import pytest

from tests.mesh.replication.explore import Bound
from tests.mesh.replication.runs import LONG, QUICK, report


@pytest.mark.parametrize("bound", QUICK, ids=lambda bound: bound.name)
def test_no_reachable_state_breaks_an_invariant(bound: Bound) -> None:
    """Whatever is lost, doubled or late: nothing committed is lost, no epoch has two leaders."""
    line, complete = report(bound)
    assert complete, line


@pytest.mark.slow
@pytest.mark.parametrize("bound", LONG, ids=lambda bound: bound.name)
def test_no_reachable_state_of_a_large_bound_breaks_an_invariant(bound: Bound) -> None:
    """As above, with more entries and with crashes that lose what was not synced."""
    line, complete = report(bound)
    assert complete, line
