"""Coordinators of groups: membership, assignment and offsets, as records plus replay."""

from mesh.groups.classic import ClassicGroups, ClassicStatistics
from mesh.groups.classic_rebalance import join_refused
from mesh.groups.consumer_checks import check_heartbeat
from mesh.groups.coordinator import Coordinator, OnTimer
from mesh.groups.image import CommittedOffset, Group, Image
from mesh.groups.offset_records import decode_offset
from mesh.groups.records import Record, decode_untrusted
from mesh.groups.timers import Timer, Wheel
from mesh.groups.turn import Ask, Reply, Topic, Topics, Turn

__all__ = [
    "Ask",
    "ClassicGroups",
    "ClassicStatistics",
    "CommittedOffset",
    "Coordinator",
    "Group",
    "Image",
    "OnTimer",
    "Record",
    "Reply",
    "Timer",
    "Topic",
    "Topics",
    "Turn",
    "Wheel",
    "check_heartbeat",
    "decode_offset",
    "decode_untrusted",
    "join_refused",
]
