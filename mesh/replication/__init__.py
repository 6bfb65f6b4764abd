"""The partition group: who leads, what is committed, who votes. A pure machine."""

from mesh.replication.group import Group
from mesh.replication.state import (
    Config,
    Entry,
    Promise,
    Replica,
    ReplicaLog,
    first_promise,
    learner_promise,
)

__all__ = [
    "Config",
    "Entry",
    "Group",
    "Promise",
    "Replica",
    "ReplicaLog",
    "first_promise",
    "learner_promise",
]
