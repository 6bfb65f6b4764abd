"""What is told once in a while."""

from __future__ import annotations

from mesh.gossip.seldom import Seldom


def test_a_key_passes_once_in_an_interval() -> None:
    """Each key by itself passes at once, then only when the interval since it passed is over."""
    seldom = Seldom[str](1_000, 10)
    passed = [(key, at) for at in range(0, 3_000, 250) for key in "ab" if seldom.may(key, at)]
    assert passed == [(key, at) for at in (0, 1_000, 2_000) for key in "ab"]


def test_of_too_many_keys_the_oldest_are_forgotten() -> None:
    """So many keys are remembered at most; one that is forgotten passes again."""
    seldom = Seldom[int](1_000, 3)
    assert all(seldom.may(key, key) for key in range(5))
    assert len(seldom) == 3
    assert [key for key in range(4, 1, -1) if seldom.may(key, 10)] == []
    assert seldom.may(0, 10)
