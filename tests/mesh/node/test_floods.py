"""Who says too much at the peer port is not heard for a while, and nobody else is the worse."""

from __future__ import annotations

from types import MappingProxyType

from mesh.gossip import Changed, Member, State
from mesh.gossip.member import PEER
from mesh.node.floods import (
    CUT_MS,
    HOSTS_MAX,
    LINK_RATE,
    MEMBER_RATE,
    SOURCES_MAX,
    STRANGERS_RATE,
    STRANGERS_RATE_PER_MEMBER,
    STRIKES_MAX,
    Floods,
    LinkFlow,
)


def with_members(count: int) -> Floods:
    floods = Floods(0)
    for node_id in range(1, count + 1):
        entries = MappingProxyType({PEER: f"10.0.0.{node_id}:1"})
        member = Member(node_id, 1, 0, State.ALIVE, 1, entries)
        floods.heed(Changed(None, member))
    return floods


def admitted(floods: Floods, source: str, count: int, now_ms: int) -> int:
    """Return how many of so many datagrams of one instant are listened to."""
    return sum(floods.admits(source, now_ms).admitted for _ in range(count))


def test_a_member_may_say_much_and_not_more() -> None:
    """A member is listened to up to its rate, twice that at once; then no more, and told once."""
    floods = with_members(2)
    for second in range(1, 20):
        assert admitted(floods, "10.0.0.1:1", MEMBER_RATE, 1000 * second) == MEMBER_RATE
    verdicts = [floods.admits("10.0.0.1:1", 20_000) for _ in range(3 * MEMBER_RATE)]
    assert sum(verdict.admitted for verdict in verdicts) == 2 * MEMBER_RATE
    (told,) = {verdict.told for verdict in verdicts} - {""}
    assert told.startswith(f"sends more than {MEMBER_RATE} datagrams a second")
    assert admitted(floods, "10.0.0.1:1", 9, 20_000 + CUT_MS - 1) == 0
    assert admitted(floods, "10.0.0.2:1", 9, 20_000) == 9
    assert admitted(floods, "10.0.0.1:1", 9, 20_000 + CUT_MS) == 9


def test_strangers_share_what_they_may_say() -> None:
    """A thousand forged sources use up what strangers have, the loudest is named, members go on."""
    floods = with_members(3)
    rate = STRANGERS_RATE + 3 * STRANGERS_RATE_PER_MEMBER
    count, told = 0, ""
    for number in range(3 * rate):
        host = "198.51.100.7:9" if number % 2 else f"203.0.113.1:{number}"
        verdict = floods.admits(host, 1_000)
        count += verdict.admitted
        told = told or verdict.told
    assert count == 2 * rate
    assert "of them 198.51.100.7:9; who is no member is not listened to" in told
    assert floods.admits("192.0.2.1:1", 1_000 + CUT_MS - 1).admitted is False
    assert admitted(floods, "10.0.0.1:1", 100, 1_000) == 100
    assert floods.admits("192.0.2.1:1", 1_000 + CUT_MS).admitted


def test_what_is_remembered_is_bounded() -> None:
    """However many sources and hosts there are, only so many of them are remembered."""
    floods = Floods(0)
    for number in range(3 * SOURCES_MAX):
        floods.admits(f"203.0.113.1:{number}", number * 100)
        floods.strike(f"host-{number}", number)
    assert len(floods._sources) <= SOURCES_MAX
    assert len(floods._strikes) == HOSTS_MAX


def test_a_host_that_opens_bad_streams_may_open_none_for_a_while() -> None:
    """Bad streams in a row cut their host off; now and then one does not, nor does it others."""
    floods = Floods(0)
    struck = [floods.strike("a", 100 * number) for number in range(STRIKES_MAX)]
    assert struck == [False] * (STRIKES_MAX - 1) + [True]
    now_ms = 100 * (STRIKES_MAX - 1)
    assert not floods.may_open("a", now_ms + CUT_MS - 1)
    assert floods.may_open("b", now_ms)
    assert floods.may_open("a", now_ms + CUT_MS)
    seldom = [floods.strike("b", CUT_MS // 5 * number) for number in range(100)]
    assert not any(seldom)


def test_a_link_is_read_at_its_rate() -> None:
    """Two seconds' worth at once, and then so long a pause that it comes to its rate."""
    flow = LinkFlow(0)
    assert flow.wait_ms(2 * LINK_RATE, 0) == 0
    assert flow.wait_ms(LINK_RATE // 2, 0) == 500
    assert flow.wait_ms(0, 500) == 0
    for second in range(1, 10):
        assert flow.wait_ms(LINK_RATE, 500 + 1000 * second) == 0
    assert flow.wait_ms(64, 9_500) > 0
