"""Metrics: every declaration renders, names keep Prometheus' rules, the page is current."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mesh.metrics import health_text, render_metrics, stat_text, status_document
from mesh.metrics.declarations import METRICS
from mesh.metrics.exposition import EXPORTED_BOUNDS_US
from mesh.metrics.page import page
from mesh.metrics.status import view_hash
from mesh.model.histogram import Histogram
from mesh.model.statistics import (
    ApiStatistics,
    Event,
    Rates,
    TopicStatistics,
)
from tests.mesh.metrics.pictures import FACTS, a_group, a_member, a_picture, a_view

ROOT = Path(__file__).parents[3]


def a_topic(name: str = "t", **changes: int) -> TopicStatistics:
    zero = dict.fromkeys(
        ("partitions", "log_bytes", "bytes_in", "bytes_out", "records_in", "batches_in", "fetches"),
        0,
    )
    return TopicStatistics(name=name, **{**zero, **changes})


def a_latency(*durations_us: int) -> Histogram:
    histogram = Histogram()
    for us in durations_us:
        histogram.observe(us)
    return histogram


def samples_of(text: bytes) -> dict[tuple[object, ...], float]:
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_page_is_current() -> None:
    """docs/metrics.md is what the declarations say; `python -m tools.docs` renews it."""
    assert (ROOT / "docs/metrics.md").read_text() == page()


def test_names_keep_the_rules() -> None:
    """Counters end in _total, nothing else does; units are base units; no name comes twice."""
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    for metric in METRICS:
        assert re.fullmatch(r"(mesh|process)_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.meaning.endswith(".")
        if metric.unit in ("seconds", "bytes"):
            assert metric.unit in metric.name
        assert not re.search(r"_ms\b|_mb\b|millis", metric.name)


def test_every_declaration_is_scraped_from_a_node_that_does_something() -> None:
    """No metric of the table is missing from the text."""
    latency = a_latency(120).latency()
    text = render_metrics(
        a_picture(
            apis=(ApiStatistics(name="Produce", versions={9: 1}, latency=latency),),
            by_topic=(a_topic(),),
            errors={"CORRUPT_MESSAGE": 1},
            groups_by_state={"Stable": 1},
            view=a_view(a_member(1), a_member(2), counters={"malformed: no CBOR": 1}),
        ),
        "",
    )[1]
    scraped = {str(name[0]) for name in samples_of(text)}
    for metric in METRICS:
        name = f"{metric.name}_count" if metric.kind == "histogram" else metric.name
        assert name in scraped, f"{name} is declared and not rendered"


def test_what_the_peer_port_refused_is_told_by_its_reason() -> None:
    """Refusals of the port and of gossip are one metric, states of members another."""
    counters = {
        "malformed: no CBOR": 2,
        "malformed: no record": 3,
        "refused: is of another mesh": 1,
        "refused_flood": 7,
        "refused_by_peers": 9,
        "refutations": 4,
        "bytes_in": 100,
    }
    dead = a_member(2, state="dead", probe_ms=None)
    view = a_view(a_member(1, probe_ms=2.0), dead, counters=counters)
    found = samples_of(render_metrics(a_picture(view=view), "")[1])
    refused = {str(k[1]): v for k, v in found.items() if k[0] == "mesh_peer_refused_total"}
    assert refused == {
        "('reason', 'malformed')": 5,
        "('reason', 'is_of_another_mesh')": 1,
        "('reason', 'flood')": 7,
    }
    assert found["mesh_members", ("state", "dead")] == 1
    assert found["mesh_members", ("state", "suspect")] == 0
    assert found["mesh_gossip_events_total", ("event", "refutations")] == 4
    assert found["mesh_peer_bytes_total", ("direction", "in")] == 100
    assert found["mesh_probe_seconds", ("quantile", "0.5")] == 0.002


def test_buckets_count_what_lies_below_them() -> None:
    """A scraped bucket holds exactly the observations up to its bound, which is inclusive."""
    durations = [1, 100, 101, 2_500, 2_501, 9_000_000, 50_000_000]
    text = render_metrics(a_picture(sync=a_latency(*durations).latency()), "")[1]
    found = samples_of(text)
    for bound in EXPORTED_BOUNDS_US:
        below = found["mesh_sync_seconds_bucket", ("le", str(bound / 1e6))]
        assert below == sum(us <= bound for us in durations)
    assert found["mesh_sync_seconds_bucket", ("le", "+Inf")] == len(durations)
    assert found[("mesh_sync_seconds_sum",)] == pytest.approx(sum(durations) / 1e6)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "application/json",
        "text/plain;version=x",
        "application/openmetrics-text;version=\n",
        ",;,",
    ],
)
def test_any_accept_header_gets_a_text(accept: str) -> None:
    """No header of a stranger breaks the rendering, or comes back in ours."""
    content_type, text = render_metrics(a_picture(), accept)
    assert content_type.isprintable()
    assert b"mesh_uptime_seconds" in text


def test_the_status_document_keeps_its_names() -> None:
    """Scripts lean on these names (docs/architecture.md); they may only become more."""
    document = status_document(a_picture())
    promised = (
        "format cluster_id healthy reasons view_hash agree nodes partitions_not_ok groups moves "
        "reach events view_age_ms uptime_s"
    )
    assert set(promised.split()) <= document.keys()
    nodes = document["nodes"]
    assert isinstance(nodes, list)
    of_node = (
        "node_id state draining address rack host version leaders replicas probe_ms "
        "suspect_left_ms in_mb_s out_mb_s append_p99_ms sync_p99_ms disk_free_bytes"
    )
    assert set(of_node.split()) <= nodes[0].keys()
    groups = status_document(a_picture(groups=(a_group(),)))["groups"]
    assert isinstance(groups, list)
    of_group = "group state members lag lag_ms blocked_by type"
    assert set(of_group.split()) <= groups[0].keys()
    assert document["format"] == 1


def test_the_status_document_tells_what_the_picture_holds() -> None:
    """Rates become megabytes per second; what nobody measured is null, not zero."""
    document = status_document(
        a_picture(
            recent=Rates(1.0, 2.0, 3_000_000.0, 4_000_000.0, 5.0),
            sync=a_latency(1_000).latency(),
            reasons=("the disk is full",),
            events=(Event(at_ms=5, kind="started", text="x"),),
            by_topic=(a_topic("orders", bytes_in=7),),
        )
    )
    assert document["healthy"] is False
    node = document["nodes"][0]  # type: ignore[index]
    assert (node["in_mb_s"], node["out_mb_s"]) == (3.0, 4.0)
    assert node["append_p99_ms"] is None
    assert node["sync_p99_ms"] == pytest.approx(1.0, rel=0.3)
    assert document["events"] == [{"at_ms": 5, "kind": "started", "text": "x", "count": 1}]
    assert document["here"]["topics"][0] == {  # type: ignore[index]
        "topic": "orders",
        "partitions": 0,
        "log_bytes": 0,
        "bytes_in": 7,
        "bytes_out": 0,
        "records_in": 0,
        "batches_in": 0,
        "fetches": 0,
    }


def test_a_view_has_one_hash_in_any_order() -> None:
    """Nodes that see the same members tell the same hash, others another."""
    other = dataclasses.replace(FACTS, node_id=2)
    assert view_hash(FACTS, other) == view_hash(other, FACTS) != view_hash(FACTS)


def test_plain_lines_are_one_name_and_value_each() -> None:
    """`stat` is for eyes and for awk; health is ok or the reasons."""
    lines = stat_text(a_picture(reasons=("a", "b"))).splitlines()
    assert all(len(line.split(" ", 1)) == 2 for line in lines)
    assert "healthy no: a; b" in lines
    assert health_text(a_picture()) == "ok\n"
    assert health_text(a_picture(reasons=("a", "b"))) == "a\nb\n"
