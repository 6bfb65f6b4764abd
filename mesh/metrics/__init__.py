"""Renders pictures of a node for machines: metrics, status, health. Pure; no machine imports it."""

from mesh.metrics.exposition import render_metrics
from mesh.metrics.plain import health_text, stat_text
from mesh.metrics.status import FORMAT, status_document
from mesh.metrics.why import why_document

__all__ = [
    "FORMAT",
    "health_text",
    "render_metrics",
    "stat_text",
    "status_document",
    "why_document",
]
