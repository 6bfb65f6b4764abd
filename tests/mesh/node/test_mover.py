"""From what placement desires to one change of voters after the other."""

from __future__ import annotations

import itertools
import random

import pytest

from mesh.node.mover import Candidates, HandOver, next_voters
from mesh.replication import Replica

A, B, C, D, E = (Replica(number, name) for number, name in enumerate("abcde", 1))
ALL = (A, B, C, D, E)


def step(
    voters: str, wanted: str, *, me: Replica = A, ready: str = "abcde", alive: str = "abcde"
) -> str | None:
    """Return the next voters as letters, `>x` for a hand-over, None for nothing."""
    found = next_voters(
        Candidates(me, of(voters), of(wanted), set(of(ready)), set(of(alive)) | {me})
    )
    if isinstance(found, HandOver):
        return f">{found.target.directory_id}"
    return None if found is None else "".join(one.directory_id for one in found)


def of(names: str) -> tuple[Replica, ...]:
    return tuple(ALL["abcde".index(name)] for name in names)


@pytest.mark.parametrize(
    ("voters", "wanted", "given", "after"),
    [
        ("a", "a", {}, None),
        ("a", "abc", {"ready": "ab"}, None),
        ("a", "abc", {}, "ab"),
        ("ab", "abc", {"ready": "abc"}, "abc"),
        ("ab", "abc", {"ready": "ab"}, None),
        ("abc", "abcde", {"ready": "abcd"}, None),
        ("abc", "abcde", {}, "abcd"),
        ("abc", "abd", {}, "abcd"),
        ("abcd", "abd", {}, "abd"),
        ("abc", "abd", {"alive": "abd"}, "ab"),
        ("abc", "abd", {"alive": "abd", "ready": "ab"}, None),
        ("abc", "abd", {"alive": "ad", "ready": "ad"}, None),
        ("abc", "a", {}, "ab"),
        ("ab", "a", {}, "a"),
        ("abc", "bcd", {}, "abcd"),
        ("abcd", "bcd", {}, ">b"),
        ("abcd", "bcd", {"ready": "acd"}, ">c"),
        ("abc", "ab", {"alive": "ab"}, "ab"),
        ("abcde", "abc", {"alive": "ade", "ready": "ade"}, None),
        ("abc", "a", {"me": B, "alive": "bc", "ready": "bc"}, None),
    ],
)
def test_the_next_voters(
    voters: str, wanted: str, given: dict[str, str], after: str | None
) -> None:
    """The dead go before who replaces them comes, the living after; two never for long."""
    assert step(voters, wanted, **given) == after  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(300))
def test_step_by_step_the_wanted_vote(seed: int) -> None:
    """From any voters to any others, one at a time, never without a leader, with deaths between."""
    rng = random.Random(seed)
    voters = tuple(rng.sample(ALL, rng.choice((1, 3))))
    wanted = tuple(rng.sample(ALL, rng.choice((1, 3, 5))))
    me = voters[0]
    for turn in range(40):
        quiet = turn > 10  # Then all are there, and ready.
        alive = {one for one in ALL if quiet or rng.random() < 0.8} | {me}
        ready = {one for one in alive if quiet or rng.random() < 0.7}
        found = next_voters(Candidates(me, voters, wanted, ready, alive))
        if isinstance(found, HandOver):
            assert found.target in voters
            assert found.target in ready
            me = found.target
        elif found is not None:
            assert me in found
            assert len(set(found) ^ set(voters)) == 1
            added = set(found) - set(voters)
            assert added <= ready
            voters = found
        elif quiet and set(voters) == set(wanted):
            return
    assert set(voters) == set(wanted)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_majority_that_is_there_is_never_given_away(count: int) -> None:
    """Whoever is alive and ready: where most of the voters are, most of the next voters are."""
    voters = ALL[:count]
    for numbers in itertools.product(range(2), range(2), range(2), range(2), range(2)):
        alive = {one for one, is_alive in zip(ALL, numbers, strict=True) if is_alive} | {A}
        for wanted in itertools.chain.from_iterable(
            itertools.combinations(ALL, size) for size in (1, 3, 5)
        ):
            if 2 * len(alive & set(voters)) <= count:
                continue
            found = next_voters(Candidates(A, voters, wanted, alive, alive))
            if found is not None and not isinstance(found, HandOver):
                assert 2 * len(alive & set(found)) > len(found)
