"""How many connections there may be, in all and from one address. A pure machine.

In all, a new one waits unserved until another has ended; from one address, one too many is closed
at once (Kafka's max.connections and max.connections.per.ip).
"""

from __future__ import annotations

from mesh.model.config import BrokerConfig, connection_overrides


class Admission:
    """Counts the connections that were taken; the driver says when one has ended."""

    def __init__(self) -> None:
        self.count = 0
        self._by_host: dict[str, int] = {}
        self._overrides = ("", dict[str, int]())
        """A text of max.connections.per.ip.overrides, and what it says."""

    def has_room(self, config: BrokerConfig) -> bool:
        """Whether one more may be served."""
        return self.count < config.connections_max

    def admit(self, peer: str, config: BrokerConfig) -> str | None:
        """Count a connection from `peer` (`host:port`), or return why it must be closed."""
        host = _host(peer)
        bound = config.connections_per_ip_max
        if text := config.connections_per_ip_overrides:
            if text != self._overrides[0]:
                self._overrides = text, connection_overrides(text)
            bound = self._overrides[1].get(host, bound)
        if self._by_host.get(host, 0) >= bound:
            return f"{host} has {bound} connections, the bound of max.connections.per.ip"
        self._by_host[host] = self._by_host.get(host, 0) + 1
        self.count += 1
        return None

    def leave(self, peer: str) -> None:
        """One that was admitted has ended."""
        host = _host(peer)
        self.count -= 1
        self._by_host[host] -= 1
        if not self._by_host[host]:
            del self._by_host[host]


def _host(peer: str) -> str:
    """Return the address without port; that of IPv4 within IPv6 as IPv4, as people write it."""
    host = peer.rpartition(":")[0].removeprefix("[").removesuffix("]")
    mapped = host.removeprefix("::ffff:")
    return mapped if "." in mapped else host
