"""A replica that wants to lead: first it asks, then it syncs its log, then it collects votes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mesh.replication.holding import Holding
from mesh.replication.messages import VoteReply, VoteRequest
from mesh.replication.quorum import is_quorum
from mesh.replication.state import Replica
from storage.types import LeaderEpoch, Offset


@dataclass(slots=True, kw_only=True)
class Candidate:
    """One campaign. It ends with its epoch, with a newer config, and with the process."""

    holding: Holding
    stage: Literal["asking", "syncing", "voting"] = "asking"
    grants: dict[Replica, Offset] = field(default_factory=dict)
    """Who would vote, or voted, for us, with its log start."""

    def ask(self) -> None:
        """Ask whether we would be elected; that changes nothing anywhere."""
        self.grants = {self.holding.me: self.holding.promise.log_start_offset}
        self._request(self.holding.promise.leader_epoch + 1, pre=True)
        self._next_stage()

    def sync(self) -> None:
        """Get our whole log on disk: voters will count on all of it."""
        self.stage, self.grants = "syncing", {}
        self.go_on()

    def go_on(self) -> None:
        """Call the vote once the log is synced."""
        holding = self.holding
        if self.stage != "syncing":
            return
        if holding.synced < holding.log_end and not holding.memory:
            holding.sync()
            return
        self.stage = "voting"
        leader_epoch = holding.promise.leader_epoch + 1
        holding.persist(
            leader_epoch=leader_epoch,
            session=0,
            voted_for=holding.me,
            synced_end=max(holding.promise.synced_end, holding.synced),
        )
        self._request(leader_epoch, pre=False)

    def on_persisted(self) -> None:
        """Count our own vote once it is durable."""
        if self.stage == "voting" and self.holding.journaled.leader_epoch == self._epoch:
            self.grants[self.holding.me] = self.holding.promise.log_start_offset

    def on_reply(self, sender: Replica, reply: VoteReply) -> None:
        """Count a vote of this stage; one of another directory than the config names is none."""
        expected = self._epoch + 1 if self.stage == "asking" else self._epoch
        if (
            reply.granted
            and reply.leader_epoch == expected
            and reply.pre == (self.stage == "asking")
            and self.stage != "syncing"
            and sender in self.holding.promise.config.voters
        ):
            self.grants[sender] = reply.log_start_offset
            self._next_stage()

    @property
    def elected(self) -> bool:
        """Whether a majority voted for us, ourselves durably among them."""
        return (
            self.stage == "voting"
            and self.holding.me in self.grants
            and is_quorum(self.holding.promise.config, self.grants)
        )

    @property
    def _epoch(self) -> LeaderEpoch:
        return self.holding.promise.leader_epoch

    def _next_stage(self) -> None:
        if self.stage == "asking" and is_quorum(self.holding.promise.config, self.grants):
            self.sync()

    def _request(self, leader_epoch: LeaderEpoch, *, pre: bool) -> None:
        holding = self.holding
        config = holding.promise.config
        request = VoteRequest(leader_epoch, config.id, holding.position, pre)
        for voter in config.voters:
            if voter != holding.me:
                holding.send(voter, request)
