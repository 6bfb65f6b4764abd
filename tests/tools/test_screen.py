"""The live status: drawn from two snapshots, readable in a pipe."""

import dataclasses

import pytest
import trio
from trio.testing import MockClock

from mesh.model.statistics import Event, GroupStatistics, Rates, Statistics, rates
from mesh.node.options import Address, Ready
from tests.mesh.metrics.pictures import a_group, a_picture
from tests.mesh.metrics.test_metrics import a_topic
from tests.tools.test_view import a_view
from tools.node import parse_admin_address, parse_ready_line, ready_line
from tools.screen import (
    LINE_S,
    duration,
    milliseconds,
    picture,
    screen_lines,
    size,
    status_line,
    watch,
)
from tools.view import View, change


def statistics(**changes: int) -> Statistics:
    return a_picture(**changes)


def news(**changes: object) -> Ready:
    plain = Ready(
        node_id=1,
        cluster_id="abc",
        listen=Address("127.0.0.1", 9092),
        admin=Address("127.0.0.1", 9094),
        peer=Address("127.0.0.1", 9093),
        advertise=Address("127.0.0.1", 9092),
        data_directory="./mesh-data",
        statistics=statistics,
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def test_rates_are_differences_over_time() -> None:
    """Every counter is divided by the seconds between the snapshots."""
    before = statistics(at_ms=1_000, requests=10, bytes_in=100, bytes_out=7, records_in=1, syncs=1)
    after = statistics(at_ms=3_000, requests=30, bytes_in=900, bytes_out=7, records_in=5, syncs=2)
    assert rates(before, after) == Rates(10.0, 2.0, 400.0, 0.0, 0.5)


def test_rates_without_time_are_zero() -> None:
    """Two snapshots of one instant do not divide by zero."""
    assert rates(statistics(), statistics(requests=5)) == Rates(0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_940, "9.9 kB"),
        (9_960, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (12_345_678, "12 MB"),
        (5e9, "5.0 GB"),
        (5e13, "50.0 TB"),
    ],
)
def test_sizes_have_three_digits_at_most(count: float, text: str) -> None:
    """Bytes are told in steps of 1000, without a step where rounding would show 1000."""
    assert size(count) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (999, "0 s"),
        (59_999, "59 s"),
        (125_000, "2 min 5 s"),
        (7_380_000, "2 h 3 min"),
        (270_000_000, "3 d 3 h"),
    ],
)
def test_durations_show_their_two_largest_units(ms: int, text: str) -> None:
    """Uptime is readable at every size."""
    assert duration(ms) == text


def busy(**changes: object) -> View:
    return a_view(
        connections=12,
        topics=34,
        partitions=56,
        disk_free_bytes=78_000_000_000,
        recent=Rates(9_876.0, 5.0, 4e6, 3e6, 2.0),
        by_topic=tuple(a_topic(f"topic-{n:02}", bytes_in=n) for n in range(34)),
        events=tuple(Event(at_ms=n, kind="topic_created", text=f"e{n}") for n in range(30)),
        **changes,
    )


GROUPS = tuple(
    a_group(
        f"group-{n:02}", lag=20 - n, lag_ms=1_000 * n, blocked_by="no members" if n % 2 else None
    )
    for n in range(20)
)


@pytest.mark.parametrize("groups", [(), GROUPS])
@pytest.mark.parametrize("reasons", [(), ("the disk is full", "the node is stopping")])
@pytest.mark.parametrize(
    ("width", "height"), [(80, 24), (160, 50), (40, 10), (80, 3), (10, 5), (300, 200), (1, 1)]
)
def test_the_screen_fits(
    width: int, height: int, reasons: tuple[str, ...], groups: tuple[GroupStatistics, ...]
) -> None:
    """No terminal is too small: lines and columns beyond it are left out."""
    states = {"Stable": len(groups)}
    now = busy(reasons=reasons, groups=groups, groups_by_state=states)
    lines = screen_lines(None, now, width, height, "q leaves")
    assert 0 < len(lines) <= height
    assert all(len(line) <= width for line, _ in lines)


def test_topics_and_groups_share_a_usual_screen() -> None:
    """At 80x24 the group with the largest lag stands there with what blocks it, and a count."""
    blocked = a_group(lag=1_234_567, lag_ms=754_000, blocked_by="no members", state="Empty")
    now = busy(groups=(blocked, *GROUPS), groups_by_state={"Empty": 1, "Stable": 99})
    text = "\n".join(line for line, _ in screen_lines(None, now, 80, 24))
    for words in ("topic-33", "1,234,567", "12 min 34 s", "blocked by: no members", "e29"):
        assert words in text
    shown = text.count("group-")
    assert f"and {99 - shown} more" in text


def test_without_groups_there_is_no_table_of_them() -> None:
    """Its room goes to topics and events."""
    assert "lag time" not in "\n".join(line for line, _ in screen_lines(None, busy(), 80, 50))


def test_a_usual_screen_shows_everything_that_matters() -> None:
    """At 80x24: verdict, numbers, the busiest topics, how many more, and the newest events."""
    text = "\n".join(line for line, _ in screen_lines(None, busy(), 80, 24))
    for words in ("healthy", "9,876", "4.0 MB/s", "78 GB", "topic-33", "more", "e29"):
        assert words in text
    assert len(text.splitlines()) == 24


def test_the_wide_screen_holds_all_topics_and_events() -> None:
    """At 160x80 nothing has to be left out."""
    text = "\n".join(line for line, _ in screen_lines(None, busy(), 160, 80))
    for words in ("topic-00", "topic-33", "e0", "e29"):
        assert words in text
    assert "more" not in text


def test_what_is_wrong_stands_on_top() -> None:
    """Reasons and unusable partitions come before the numbers."""
    view = busy(reasons=("the disk is full",), partitions_not_ok=(("t", 0, "no leader is known"),))
    lines = [line for line, _ in screen_lines(None, view, 80, 24)]
    assert "NOT HEALTHY" in lines[0]
    assert lines[1:3] == ["  the disk is full", "  t-0: no leader is known"]


def test_the_verdict_is_never_cut_off() -> None:
    """On a narrow screen it stands before what there is no room for."""
    view = busy(reasons=("the disk is full",))
    for width in (40, 60, 160):
        assert "NOT HEALTHY" in screen_lines(None, view, width, 24)[0][0][:width]


def test_the_drawing_is_the_lines() -> None:
    """What rich draws is those lines, whatever brackets a topic's name or an event has."""
    view = a_view(events=(Event(at_ms=0, kind="started", text="[red]x[/red] [/]"),))
    drawn = picture(None, view, 80, 24)
    assert drawn.plain.splitlines() == [line for line, _ in screen_lines(None, view, 80, 24)]
    assert "[red]x[/red] [/]" in drawn.plain


def test_a_status_line_holds_what_the_screen_holds() -> None:
    """Terminal and pipe tell the same numbers."""
    line = status_line(busy(), change(None, busy()))
    for words in ("12", "34", "56", "78 GB", "9,876", "4.0 MB/s", "3.0 MB/s"):
        assert words in line


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, "-"),
        (0.0123, "12 µs"),
        (0.9996, "1.0 ms"),
        (9.96, "10 ms"),
        (340, "340 ms"),
        (2_100, "2.1 s"),
    ],
)
def test_latencies_have_three_digits_at_most(ms: float | None, text: str) -> None:
    """Latencies are told in the unit that fits, without a step where rounding would show 1000."""
    assert milliseconds(ms) == text


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"advertise": Address("broker", 1)},
        {"listen": Address("::1", 5), "data_directory": "a, b (c)"},
    ],
)
def test_the_ready_line_can_be_read_back(changes: dict[str, object]) -> None:
    """Whoever starts a node on port 0 finds its address in the line that it prints."""
    told = news(**changes)
    line = ready_line(told, 123.4)
    assert "\n" not in line
    assert parse_ready_line(line) == told.listen
    assert parse_admin_address(line) == told.admin
    for words in (told.data_directory, told.cluster_id, "0.12 s", str(told.advertise)):
        assert words in line


@pytest.mark.parametrize("line", ["", "error: x", "node is ready", "\n"])
def test_other_lines_are_no_ready_line(line: str) -> None:
    """A node that failed to start is not taken for one that listens."""
    assert parse_ready_line(line) is None
    assert parse_admin_address(line) is None


async def test_in_a_pipe_only_a_busy_node_speaks(
    capsys: pytest.CaptureFixture[str], autojump_clock: MockClock
) -> None:
    """Without a terminal there is a plain line per interval in which something happened."""
    requests = iter([0, 50, 50, 50, 150, 150])

    def snapshot() -> Statistics:
        return statistics(at_ms=int(trio.current_time() * 1000), requests=next(requests))

    with trio.move_on_after(4.5 * LINE_S):
        await watch(news(statistics=snapshot))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(", ")[2] for line in lines] == ["5 requests/s", "10 requests/s"]
