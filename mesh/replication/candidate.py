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
    last_resort: bool = False
    """Everybody is needed, since fewer than a majority can be trusted."""
    answers: dict[Replica, VoteReply] = field(default_factory=dict)
    """What each voter answered in this stage, if it does not refuse for what it knows."""
    grants: dict[Replica, Offset] = field(default_factory=dict)
    """Who would vote, or voted, for us, with its log start."""

    def ask(self) -> None:
        """Ask whether we would be elected; that changes nothing anywhere."""
        holding = self.holding
        self.grants = {holding.me: holding.promise.log_start_offset} if holding.may_campaign else {}
        self._request(self.holding.promise.leader_epoch + 1, pre=True)
        self._next_stage()

    def sync(self) -> None:
        """Get our whole log on disk: voters will count on all of it."""
        self.stage, self.grants, self.answers = "syncing", {}, {}
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
        """Count an answer of this stage; one of another directory than the config names is none."""
        expected = self._epoch + 1 if self.stage == "asking" else self._epoch
        if (
            reply.leader_epoch == expected
            and reply.pre == (self.stage == "asking")
            and self.stage != "syncing"
            and sender in self.holding.promise.config.voters
        ):
            if self.stage == "asking" or self.last_resort:
                self.answers[sender] = reply
            if reply.granted:
                self.grants[sender] = reply.log_start_offset
            self._next_stage()

    @property
    def elected(self) -> bool:
        """Whether a majority voted for us, ourselves durably among them; or, at last, everybody."""
        config = self.holding.promise.config
        if self.stage != "voting" or self.holding.me not in self.grants:
            return False
        if self.last_resort:
            # Whoever granted can become sure no more but through us: what counts is true now.
            return self.grants.keys() >= set(config.voters) and not self._enough_are_sure
        return is_quorum(config, self.grants)

    @property
    def unsure(self) -> tuple[Replica, ...]:
        """Voters that said that they may have lost what they acknowledged."""
        others = [replica for replica, reply in self.answers.items() if reply.unsure]
        return tuple(sorted([*others, self.holding.me] if self.holding.promise.unsure else others))

    @property
    def _enough_are_sure(self) -> bool:
        config = self.holding.promise.config
        return is_quorum(config, set(config.voters) - set(self.unsure))

    @property
    def _is_last_resort(self) -> bool:
        """Whether all have answered, too few are sure, nobody knows a leader, and we have most."""
        answers, holding = self.answers, self.holding
        return (
            answers.keys() >= set(holding.promise.config.voters) - {holding.me}
            and not self._enough_are_sure
            and all(reply.tail <= holding.tail and not reply.led for reply in answers.values())
        )

    @property
    def _epoch(self) -> LeaderEpoch:
        return self.holding.promise.leader_epoch

    def _next_stage(self) -> None:
        if self.stage != "asking":
            return
        if self.holding.may_campaign and is_quorum(self.holding.promise.config, self.grants):
            self.sync()
        elif self._is_last_resort:
            self.last_resort = True
            self.sync()

    def _request(self, leader_epoch: LeaderEpoch, *, pre: bool) -> None:
        holding = self.holding
        config = holding.promise.config
        position = holding.tail if self.last_resort else holding.position
        request = VoteRequest(leader_epoch, config.id, position, pre, self.last_resort)
        for voter in config.voters:
            if voter != holding.me:
                holding.send(voter, request)
