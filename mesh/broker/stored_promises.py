"""Promises of groups in the form of the journal, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from mesh.replication import Config, Promise, Replica
from storage import promises as stored

if TYPE_CHECKING:
    from mesh.broker.partition import Partition
    from storage.promises import GroupId


CONFIGS_MAX = 10_000
"""Configs whose form in the journal is remembered; each takes some 200 bytes."""


def group_id(partition: Partition) -> GroupId:
    """Return what the journal calls a partition's group."""
    return partition.topic_id, partition.index


class Storing:
    """Turns the promises of one node into the journal's form, and remembers what many share."""

    def __init__(self, me: Replica) -> None:
        """Nothing is remembered yet."""
        self._me, self._own_vote = me, to_voter(me)
        self._voters: dict[Config, tuple[stored.Voter, ...]] = {}

    def __call__(self, promise: Promise) -> stored.Promise:
        """Return a promise in the journal's form."""
        config = promise.config
        voters = self._voters.get(config)
        if voters is None:
            if len(self._voters) >= CONFIGS_MAX:
                self._voters.clear()
            voters = self._voters[config] = tuple(map(to_voter, config.voters))
        own = promise.voted_for == self._me
        return to_stored(promise, voters, self._own_vote if own else None)


def to_stored(
    promise: Promise,
    voters: tuple[stored.Voter, ...] | None = None,
    vote: stored.Voter | None = None,
) -> stored.Promise:
    """Return a promise in the journal's form.

    Args:
        promise: as the machine holds it.
        voters: its config's, if they were turned into that form before.
        vote: who was voted for, likewise.
    """
    config = promise.config
    if vote is None and promise.voted_for is not None:
        vote = to_voter(promise.voted_for)
    return stored.Promise(
        promise.leader_epoch,
        promise.session,
        vote,
        promise.log_epoch,
        config.config_epoch,
        config.config_version,
        tuple(map(to_voter, config.voters)) if voters is None else voters,
        promise.synced_end,
        promise.log_start_offset,
        promise.tombstone,
        promise.unsure,
    )


def from_stored(promise: stored.Promise) -> Promise:
    """Return a promise of the journal as the machine holds it."""
    voters = tuple(map(_replica, promise.voters))
    voted_for = promise.voted_for
    return Promise(
        promise.leader_epoch,
        promise.session,
        None if voted_for is None else _replica(voted_for),
        promise.log_epoch,
        Config(promise.config_epoch, promise.config_version, voters),
        promise.synced_end,
        promise.log_start_offset,
        promise.tombstone,
        promise.unsure,
    )


def to_voter(replica: Replica) -> stored.Voter:
    """Return a replica in the journal's form."""
    return replica.node_id, UUID(replica.directory_id).bytes


def _replica(voter: stored.Voter) -> Replica:
    node_id, directory_id = voter
    return Replica(node_id, str(UUID(bytes=directory_id)))
