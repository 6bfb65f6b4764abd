"""Every parameter of the protocol beside its formula, in three profiles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

DATAGRAM_BYTES_MAX = 1_400
"""Fits the usual MTU of 1,500 with room for IPv6, UDP and tunnels; what is sealed is smaller."""
FRAME_BYTES_MAX = 16 << 20
"""Of a frame on a stream: the records of some 100,000 members."""
ENTRY_BYTES_MAX = 256
ENTRIES_MAX = 32
"""Of a member's map: name and value together, and how many."""
MEMBERS_MAX = 20_000
"""Known to a node, all states together; whoever is new after that is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All durations in milliseconds. Source: SWIM (2002), Lifeguard (2018), measurements."""

    probe_interval_ms: int = 1_000
    """One probe a node in each, times (local health + 1). Whom: three of four go to the next three
    on the ring of hashed ids, so that everyone has three observers at known distances; the fourth
    to everybody in turn."""
    probe_timeout_ms: int = 300
    """Until the direct probe has failed and others are asked, times (local health + 1)."""
    indirect_timeout_ms: int = 300
    """Until the indirect ones have failed, too, times (local health + 1)."""
    indirect_probes: int = 3
    """Members asked to probe for us."""
    suspicion_ms_min: int = 1_000
    """From suspect to dead once `confirmations` observers agree."""
    suspicion_factor_max: int = 6
    """Without any confirmation: so many times that; between them it falls with log(C + 1)."""
    confirmations: int = 3
    """Independent observers, each weighing 1 / (its local health + 1), that make it certain."""
    local_health_max: int = 8
    """Bound of the local health multiplier; 0 is well."""
    fan_out: int = 3
    """To how many a node passes news on at once, and `fan_out_later` some ms later."""
    fan_out_later: int = 2
    later_ms: int = 40
    """When it does so, and then tells others what it has, for them to ask for."""
    push_pull_interval_ms: int = 30_000
    """Without any sign of a difference; where a hash differs it is done at once."""
    call_timeout_ms: int = 5_000
    """For an answer on a stream."""
    rejoin_impaired_ms: int = 30_000
    """One that was found dead while it talked must have good links for so long, and twice as long
    each time again, before it claims to be alive."""
    reconnect_interval_ms: int = 5_000
    """How often somebody tries each dead member again."""
    tombstone_ms: int = 3_600_000
    """How long one who left is remembered, so that old news does not bring it back."""
    forget_dead_ms: int = 72 * 3_600_000
    """After so long a dead member counts as one who left, and is forgotten with them."""
    datagram_bytes_max: int = DATAGRAM_BYTES_MAX


LAN = Settings()
LOCAL = replace(LAN, probe_interval_ms=500, suspicion_ms_min=2_000, push_pull_interval_ms=10_000)
WAN = replace(
    LAN,
    probe_interval_ms=2_000,
    probe_timeout_ms=1_500,
    indirect_timeout_ms=1_500,
    suspicion_ms_min=4_000,
    later_ms=300,
    push_pull_interval_ms=60_000,
    call_timeout_ms=15_000,
)
PROFILES = MappingProxyType({"local": LOCAL, "lan": LAN, "wan": WAN})
"""By the name of `--profile`."""
