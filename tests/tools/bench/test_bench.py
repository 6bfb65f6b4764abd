"""`mesh bench` from flags to figures, on nodes of our own."""

import json
from typing import Any

import pytest

from tools import cli
from tools.bench.report import table
from tools.errors import Exit

NAMES = {"req_s", "mb_s", "p50_ms", "p99_ms", "p999_ms", "cpu_us_per_req", "cpu_s_per_gb", "rss_mb"}
SHORT = ("--seconds", "0.1", "--warm-up", "0", "--rounds", "2", "--json")


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    status = cli.run(["bench", *arguments])
    output = capsys.readouterr()
    assert status == Exit.OK, output.err
    told = json.loads(output.out)
    assert isinstance(told, dict)
    assert told["format"] == 1
    return told


def test_produce_measures_every_combination(capsys: pytest.CaptureFixture[str]) -> None:
    """Each shape, acks, connections and in-flight is one point with all promised names."""
    told = document(
        capsys, "produce", "--shape", "10x100", "--in-flight", "5", *SHORT, "--durability", "memory"
    )
    points = told["points"]
    places = [(p["acks"], p["connections"], p["in_flight"]) for p in points]
    assert places == [("1", 1, 5), ("1", 4, 5), ("all", 1, 5), ("all", 4, 5)]
    for point in points:
        assert set(point) >= NAMES
        assert point["req_s"] > 0
        assert point["mb_s"] == pytest.approx(point["req_s"] * point["batch_bytes"] / 1e6)
        assert 0 < point["p50_ms"] <= point["p99_ms"] <= point["p999_ms"]
        assert point["rss_mb"] > 1


def test_fetch_reads_what_was_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    """One batch or a megabyte at a time: each point moves at least a batch per request."""
    told = document(
        capsys, "fetch", "--shape", "1000x1000", "--connections", "2", "--in-flight", "2", *SHORT
    )
    assert [p["fetch_bytes_max"] for p in told["points"]] == [1, 1 << 20]
    for point in told["points"]:
        assert set(point) >= NAMES
        assert point["mb_s"] >= point["req_s"] * point["batch_bytes"] / 1e6 * 0.999


def test_two_brokers_take_turns(capsys: pytest.CaptureFixture[str]) -> None:
    """--against gives the other's figures and a ratio with its extremes."""
    from tools.bench.process import own_node

    with own_node(["--durability", "memory"]) as other:
        told = document(
            capsys,
            *("produce", "--shape", "1x100", "--connections", "1", "--in-flight", "1"),
            *("--acks", "1", *SHORT, "--against", str(other.address)),
        )
    (point,) = told["points"]
    assert set(point["against"]) >= NAMES
    assert point["ratio_min"] <= point["ratio"] <= point["ratio_max"]
    assert point["ratio"] == pytest.approx(point["req_s"] / point["against"]["req_s"], rel=0.2)
    assert [t["name"] for t in told["targets"]] == ["mesh", "against"]


def test_start_is_measured_to_the_first_acknowledged_record(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every start has an empty directory, and its time is that of an acknowledged record."""
    (point,) = document(capsys, "start", "--rounds", "2", "--json")["points"]
    assert 0 < point["first_ack_ms_min"] <= point["first_ack_ms"] <= point["first_ack_ms_max"]


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["start", "--against", "127.0.0.1:1"], Exit.USAGE, "--against-command"),
        (["produce", "--against", "nowhere"], Exit.USAGE, "no port"),
        (["produce", "--shape", "0x0"], Exit.USAGE, "0x0"),
        (["fetch", "--bootstrap", "127.0.0.1:1"], Exit.CONNECT, "refused"),
        (["idle", "--bootstrap", "127.0.0.1:1"], Exit.REFUSED, "--pid"),
    ],
)
def test_what_cannot_be_measured_is_told(
    arguments: list[str],
    status: Exit,
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Wrong flags and absent brokers end in a text and a status, not in a trace."""
    assert cli.run(["bench", *arguments]) == status
    assert told in capsys.readouterr().err


def test_the_table_is_markdown_with_a_row_per_broker() -> None:
    """The table for people can be pasted into docs/performance.md."""
    figures = dict.fromkeys(NAMES, 1.0)
    place = {"shape": "1x100", "connections": 1, "in_flight": 5, "acks": "all"}
    ratio = {"ratio": 2.5, "ratio_min": 2.0, "ratio_max": 3.0}
    lines = table("produce", [place | figures | ratio | {"against": figures}]).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert lines[1].replace("|", "").replace("-", "").replace(":", "").strip() == ""
    assert "2.50 (2.00 to 3.00)" in lines[2]
    assert "against" in lines[3]


def test_compact_measures_every_combination(capsys: pytest.CaptureFixture[str]) -> None:
    """Each size, number of keys and codec is a point; what is left fits what was written."""
    told = document(
        capsys,
        *("compact", "--megabytes", "2", "--record-bytes", "100", "--keys", "50", "--json"),
        *("--key-map-bytes", "1000000"),
    )
    assert [point["codec"] for point in told["points"]] == ["none", "lz4"]
    for point in told["points"]:
        assert point["runs"] == 1
        assert point["mb_s"] > 0
        assert 0 < point["key_map_mib"] < 1
        assert 0 < point["left_percent"] < 20


def test_gossip_tells_what_members_say_plain_and_sealed(capsys: pytest.CaptureFixture[str]) -> None:
    """Plain and sealed members say as much as often; what is sealed is longer by its overhead."""
    told = document(capsys, "gossip", "--nodes", "20", "--seconds", "20", "--json")
    plain, sealed = told["points"]
    assert (plain["key"], sealed["key"]) == ("none", "sealed")
    assert plain["node_seconds_s"] > 0
    messages = plain["messages_node_s"]
    assert 2 <= messages < 2.5
    assert abs(sealed["messages_node_s"] - messages) < 0.1
    assert sealed["bytes_node_s"] - plain["bytes_node_s"] == pytest.approx(43 * messages, rel=0.1)


def test_a_world_is_as_busy_as_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Requests come at about the rate that was asked for, and more of them are more events."""
    few, many = (
        document(capsys, "world", "--nodes", "3", "--seconds", "2", "--rate", rate, "--json")
        for rate in ("20", "100")
    )
    assert few["points"][0]["produce_s"] == pytest.approx(20, rel=0.3)
    assert many["points"][0]["fetch_s"] == pytest.approx(100, rel=0.3)
    assert many["points"][0]["events_s"] > few["points"][0]["events_s"] > 0


def test_placement_tells_loads_and_movement_of_every_mesh(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each number of nodes and racks is a point; shares are kept and movement is near the least."""
    told = document(
        capsys,
        *("placement", "--nodes", "4", "--nodes", "12", "--racks", "0", "--racks", "3"),
        *("--partitions", "300", "--weighted", "--json"),
    )
    assert [(p["nodes"], p["racks"]) for p in told["points"]] == [(4, 1), (4, 3), (12, 1), (12, 3)]
    for point in told["points"]:
        assert 1 <= point["replicas_max_to_share"] < 1.2
        assert 1 <= point["leaders_max_to_share"] < 1.2
        assert 0.5 < point["join_to_ideal"] < 2
        assert point["above_cap"] == 0
        assert point["place_ms"] > point["slice_ms_max"] > 0
