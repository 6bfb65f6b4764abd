"""docs/metrics.md, made from the declarations."""

from __future__ import annotations

from mesh.metrics.declarations import METRICS

HEAD = """# Metrics

<!-- Made by `python -m tools.docs`; a test holds it current. -->

`GET /metrics` on the admin port (`127.0.0.1:9094`; `--admin-listen`) gives these in Prometheus'
text form, or as OpenMetrics if the Accept header names that. What it shows is one picture, taken
at one instant.

Counters begin at 0 when the node starts. Nothing is told by partition or by client, because nobody
bounds how many there are. Topics have series of their own up to 1,000 of them, those with the most
traffic (`mesh_topics_left_out` says how many have none). A histogram `x` is scraped as `x_bucket`,
`x_sum` and `x_count`, with buckets from 100 µs to 10 s.

| metric | type | unit | labels | meaning |
|---|---|---|---|---|
"""


def page() -> str:
    """Return the whole page."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {metric.unit or '–'} | "
        f"{', '.join(f'`{label}`' for label in metric.labels) or '–'} | {metric.meaning} |\n"
        for metric in METRICS
    ]
    return HEAD + "".join(rows)
