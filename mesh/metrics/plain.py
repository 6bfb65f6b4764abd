"""A picture as a few plain lines: for `/healthz`, and for the bare line `stat` over telnet."""

from __future__ import annotations

from mesh.model.statistics import Statistics


def health_text(now: Statistics) -> str:
    """Return `ok`, or one reason a line why the node is not healthy."""
    return "ok\n" if now.healthy else "".join(f"{reason}\n" for reason in now.reasons)


def stat_text(now: Statistics) -> str:
    """Return what somebody at a telnet prompt wants to know, as `name value` lines."""
    node = now.node
    pairs: list[tuple[str, object]] = [
        ("version", node.version),
        ("node_id", node.node_id),
        ("cluster_id", node.cluster_id),
        ("clients_at", node.address),
        ("healthy", "yes" if now.healthy else "no: " + "; ".join(now.reasons)),
        ("uptime_s", now.uptime_ms // 1000),
        ("connections", now.connections),
        ("requests", now.requests),
        ("requests_waiting", now.requests_waiting),
        ("bytes_in", now.bytes_in),
        ("bytes_out", now.bytes_out),
        ("records_in", now.records_in),
        ("topics", now.topics),
        ("partitions", now.partitions),
        ("log_bytes", now.log_bytes),
        ("disk_free_bytes", now.disk_free_bytes),
        ("append_p99_ms", _ms(now.append.p99_ms)),
        ("sync_p99_ms", _ms(now.sync.p99_ms)),
    ]
    return "".join(f"{name} {value}\n" for name, value in pairs)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
