"""A picture as Prometheus scrapes it: its text form, or OpenMetrics where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from mesh.metrics.declarations import METRICS, Metric, Value
from mesh.model.histogram import BOUNDS_US, Latency
from mesh.model.statistics import Statistics

if TYPE_CHECKING:
    from prometheus_client import Metric as Family

OPENMETRICS = "application/openmetrics-text"
EXPORTED_BOUNDS_US = (
    *(100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000),
    *(100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000),
)
"""Buckets that are scraped: each is a bound of the histogram, so that none has to be split."""
_EXPORTED = [(bound / 1e6, BOUNDS_US.index(bound)) for bound in EXPORTED_BOUNDS_US]


class _Picture:
    """What prometheus-client takes for a registry."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[Family]:
        for metric in METRICS:
            yield _family(metric, self._statistics)


def render_metrics(statistics: Statistics, accept: str) -> tuple[str, bytes]:
    """Return content type and text of all metrics, in the form that `accept` prefers.

    Args:
        statistics: the picture.
        accept: an HTTP Accept header; empty, or one that names neither form, gets Prometheus'.
    """
    # 70 ms to import: a node that nobody scrapes does without.
    from prometheus_client.exposition import choose_encoder

    # A stranger's header is never passed on: its version would come back in ours.
    kinds = {kind.partition(";")[0].strip().lower() for kind in accept.split(",")}
    encode, content_type = choose_encoder(OPENMETRICS if OPENMETRICS in kinds else "")
    return content_type, encode(_Picture(statistics))


def _family(metric: Metric, statistics: Statistics) -> Family:
    from prometheus_client import metrics_core as core

    name, meaning, labels = metric.name, metric.meaning, metric.labels
    match metric.kind:
        case "counter":
            counter = core.CounterMetricFamily(name, meaning, labels=labels)
            for values, value in metric.read(statistics):
                counter.add_metric(values, _number(value))
            return counter
        case "gauge":
            gauge = core.GaugeMetricFamily(name, meaning, labels=labels)
            for values, value in metric.read(statistics):
                gauge.add_metric(values, _number(value))
            return gauge
        case "info":
            info = core.InfoMetricFamily(name.removesuffix("_info"), meaning, labels=())
            for values, _ in metric.read(statistics):
                info.add_metric((), dict(zip(labels, values, strict=True)))
            return info
        case "histogram":
            histogram = core.HistogramMetricFamily(name, meaning, labels=labels)
            for values, value in metric.read(statistics):
                assert isinstance(value, Latency), f"{name} holds durations"
                histogram.add_metric(values, _buckets(value), value.sum_us / 1e6)
            return histogram


def _number(value: Value) -> float:
    assert not isinstance(value, Latency), "only a histogram holds durations"
    return float(value)


def _buckets(latency: Latency) -> list[tuple[str, float]]:
    below = list(accumulate(latency.counts))
    return [*((str(bound), below[index]) for bound, index in _EXPORTED), ("+Inf", below[-1])]
