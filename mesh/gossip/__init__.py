"""Membership: who is there, who is well, and what everybody says of itself."""

from mesh.gossip.context import Me, Rng
from mesh.gossip.effects import (
    Call,
    Changed,
    Clash,
    Doubted,
    Effect,
    HasLeft,
    Joined,
    JoinFailed,
    Refused,
    Send,
    Sought,
)
from mesh.gossip.gossip import Gossip, Picture, Seen
from mesh.gossip.member import Member, State, Value
from mesh.gossip.messages import KINDS_END
from mesh.gossip.settings import LAN, LOCAL, PROFILES, WAN, Settings
from mesh.gossip.syncer import NOT_ASKED, OTHER_MESH, UNANSWERED, refusal
from mesh.gossip.view import Known

__all__ = [
    "KINDS_END",
    "LAN",
    "LOCAL",
    "NOT_ASKED",
    "OTHER_MESH",
    "PROFILES",
    "UNANSWERED",
    "WAN",
    "Call",
    "Changed",
    "Clash",
    "Doubted",
    "Effect",
    "Gossip",
    "HasLeft",
    "JoinFailed",
    "Joined",
    "Known",
    "Me",
    "Member",
    "Picture",
    "Refused",
    "Rng",
    "Seen",
    "Send",
    "Settings",
    "Sought",
    "State",
    "Value",
    "refusal",
]
