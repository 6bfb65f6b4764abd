"""How many connections there may be: counted in all and by address."""

from __future__ import annotations

import random

import pytest

from mesh.model.config import BrokerConfig
from mesh.node.admission import Admission


def config(**given: str) -> BrokerConfig:
    return BrokerConfig.from_mapping({key.replace("_", "."): each for key, each in given.items()})


def test_one_too_many_from_an_address_is_refused_and_others_are_not() -> None:
    """The bound is per address; who leaves makes room."""
    admission, two = Admission(), config(max_connections_per_ip="2")
    assert [admission.admit(f"10.0.0.1:{port}", two) is None for port in (1, 2, 3)] == [
        True,
        True,
        False,
    ]
    assert admission.admit("10.0.0.2:1", two) is None
    admission.leave("10.0.0.1:1")
    assert admission.admit("10.0.0.1:3", two) is None
    assert "max.connections.per.ip" in (admission.admit("10.0.0.1:4", two) or "")


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("10.0.0.1:1", "10.0.0.1:5"),
        ("10.0.0.9:7, 10.0.0.1:1", "[::ffff:10.0.0.1]:5"),
        ("[2001:db8::0:1]:1", "[2001:db8::1]:5"),
    ],
)
def test_an_address_may_have_a_bound_of_its_own(text: str, peer: str) -> None:
    """Overrides count for their address, however it is written, and for no other."""
    admission = Admission()
    ours = config(max_connections_per_ip="0", max_connections_per_ip_overrides=text)
    assert admission.admit(peer, ours) is None
    assert admission.admit(peer, ours) is not None
    assert admission.admit("10.0.0.3:1", ours) is not None


@pytest.mark.parametrize("seed", range(30))
def test_counts_are_what_counting_again_says(seed: int) -> None:
    """After any comings and goings, with bounds that change, the counts are those of who is in."""
    rng, admission, inside = random.Random(seed), Admission(), list[str]()
    for number in range(200):
        ours = config(
            max_connections=str(rng.randint(1, 20)), max_connections_per_ip=str(rng.randint(1, 5))
        )
        assert admission.has_room(ours) == (len(inside) < ours.connections_max)
        if inside and rng.random() < 0.4:
            admission.leave(inside.pop(rng.randrange(len(inside))))
            continue
        host = rng.choice(("10.0.0.1", "10.0.0.2", "[::1]"))
        taken = sum(peer.startswith(host) for peer in inside) < ours.connections_per_ip_max
        assert (admission.admit(f"{host}:{number}", ours) is None) == taken
        if taken:
            inside.append(f"{host}:{number}")
    assert admission.count == len(inside)
