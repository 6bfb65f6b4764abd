"""How far an exploration goes, and what may happen in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Bound:
    """How far a run goes. What is within is tried wholly, unless `states_max` cuts it.

    Always: messages are lost, late, doubled and in any order.
    """

    name: str
    voters: int = 3
    epochs: int = 2
    entries: int = 2
    crashes: int = 0
    """Restarts, between any two effects of an event; any part of the log that no sync has reached
    is lost."""
    campaigns: int = 99
    reconfigurations: int = 0
    """Voters added or removed; who is none any more may be ordered to leave."""
    adoptions: int = 0
    """Times that a leader takes in a replica that is no voter."""
    wipes: int = 0
    """Times that a node returns with an empty disk, hence as another replica."""
    late: bool = False
    """The last voter begins without state; like every replica, it may make its first state from
    the registry's record of the voters at any time at which that is allowed."""
    slow_journal: bool = False
    """Anything may happen between two effects of a replica, not only its own restart."""
    memory: bool = False
    """Acknowledgements do not wait for the disk."""
    unclean: int = 0
    """Times that a machine goes down in memory mode, with what was acknowledged."""
    switches: bool = False
    """Whether a node may begin without memory mode then."""
    old_disks: int = 0
    """Times that a node's disk is replaced by a snapshot of it. If the member that answers first
    heard nothing of that node since, nobody can tell: such paths are not followed, for that is
    one copy lost."""
    witnesses: int = 0
    """Members beside the voters; they hold nothing, they only remember."""
    claims: bool = False
    """Entries differ even if one replica writes them in one epoch twice, as it can only if it
    forgot the first: an entry is a claim, and its offset the number that is claimed."""
    resends: bool = True
    quiet: bool = False
    """Refusals get lost, and high watermarks do not travel; both may happen, neither must."""
    promises: bool = False
    """Whether to check, too, that what is said is on its sender's disk, and stays there."""
    states_max: int = 20_000_000
