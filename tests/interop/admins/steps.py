"""The story that every admin client runs: what a step does, and what must come of it.

It was run against Kafka 4.3.1 too (`python -m tests.interop.admins BOOTSTRAP`). There a step that
looks at a change just made may still see the state before; here it may not, where one node stands.

The topic is made with 2 partitions, cleanup.policy=compact and retention.ms=5000000; the filled one
has one partition with 5 records of one idempotent producer. Errors are Kafka's numbers, 0 for none;
a configuration is its value, and whether it is the topic's own.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from tests.interop.node import ASKED_NODE_ID, OTHER_NODE_IDS

Said: TypeAlias = dict[str, object]

CONFIGS = {"cleanup.policy": "compact", "retention.ms": "5000000"}
LOOKED_AT = ("cleanup.policy", "retention.ms", "segment.ms")
COMPACT, OWN_RETENTION = ["compact", True], ["5000000", True]
DEFAULT = ["604800000", False]


class Step(NamedTuple):
    """What must come of a step, and which API (by its key) has the last word on it."""

    result: object
    api_key: int


STEPS = {
    "create": Step(0, 19),
    "create_again": Step(36, 19),
    "describe_configs": Step(
        {"cleanup.policy": COMPACT, "retention.ms": OWN_RETENTION, "segment.ms": DEFAULT}, 32
    ),
    # segment.ms is set to 9000 and retention.ms deleted.
    "alter": Step(0, 44),
    "alter_after": Step(
        {"cleanup.policy": COMPACT, "retention.ms": DEFAULT, "segment.ms": ["9000", True]}, 32
    ),
    "alter_wrong": Step(40, 44),
    # retention.ms=6000000 is all that the topic shall have of its own.
    "replace": Step(0, 33),
    "replace_after": Step(
        {
            "cleanup.policy": ["delete", False],
            "retention.ms": ["6000000", True],
            "segment.ms": DEFAULT,
        },
        33,
    ),
    "replace_wrong": Step(40, 33),
    # To 3 partitions, and back to 1.
    "widen": Step(0, 37),
    "widen_back": Step(37, 37),
    "partitions": Step(3, 37),
    # Of the filled topic: first offset and end.
    "offsets": Step([0, 5], 2),
    # Epoch and last sequence of each producer.
    "producers": Step([[0, 4]], 61),
    # Whether the filled partition takes room.
    "log_dirs": Step(True, 35),
    # Up to offset 3; then up to 9, which is not there.
    "delete_records": Step(0, 21),
    "delete_records_beyond": Step(1, 21),
    "offsets_after": Step([3, 5], 21),
    "nodes": Step([1], 60),
    "controller": Step(1, 60),
    # Partition 0 to node 1, where it is; to node 99; and no longer anywhere else.
    "reassign": Step(0, 45),
    "reassign_unknown": Step(39, 45),
    "reassign_cancel": Step(85, 45),
    "reassignments": Step(0, 46),
    # The preferred leader leads already.
    "elect": Step(84, 43),
    "features": Step(0, 18),
    # Whether the topic is among the things with configurations.
    "resources": Step(True, 74),
    "delete": Step(0, 20),
    "gone": Step(True, 3),
}

AMONG_SEVERAL: dict[str, tuple[object, ...]] = {
    "nodes": ([ASKED_NODE_ID, *OTHER_NODE_IDS],),
    # Any node takes what Kafka's controller takes.
    "controller": (ASKED_NODE_ID, *OTHER_NODE_IDS),
    # The node that is asked may hear a moment later of what another one did, as Kafka's brokers
    # hear of what the controller did.
    "alter_after": (STEPS["describe_configs"].result,),
    "replace_after": (STEPS["alter_after"].result, STEPS["describe_configs"].result),
    "partitions": (2,),
    "gone": (False,),
    # Partition 0 may have been elsewhere: then it is really being moved to node 1, which may be
    # over or not when it is taken back, and who should lead it may have to be elected.
    "reassign_cancel": (0, 85),
    "reassignments": (0, 1),
    "elect": (0, 80, 84),
}
"""What else may come of a step where three nodes stand."""
