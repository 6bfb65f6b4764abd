"""Membership: who is there, who is well, and what everybody says of itself."""

from mesh.gossip.effects import (
    Call,
    Changed,
    Clash,
    Effect,
    HasLeft,
    Joined,
    JoinFailed,
    Refused,
    Send,
)
from mesh.gossip.gossip import Gossip, Me, Picture, Seen
from mesh.gossip.member import Member, State, Value
from mesh.gossip.settings import LAN, LOCAL, PROFILES, WAN, Settings

__all__ = [
    "LAN",
    "LOCAL",
    "PROFILES",
    "WAN",
    "Call",
    "Changed",
    "Clash",
    "Effect",
    "Gossip",
    "HasLeft",
    "JoinFailed",
    "Joined",
    "Me",
    "Member",
    "Picture",
    "Refused",
    "Seen",
    "Send",
    "Settings",
    "State",
    "Value",
]
