"""One replica of a partition: events in, effects out, one role at a time.

The rules are in this room's README; numbers in brackets are theirs.
"""

from __future__ import annotations

from typing import assert_never

from mesh.replication import events as ev
from mesh.replication import messages as msg
from mesh.replication.candidate import Candidate
from mesh.replication.follower import Follower
from mesh.replication.holding import Holding
from mesh.replication.leader import Leader
from mesh.replication.patience import Deaf, Hearing, Patience, Rng
from mesh.replication.quorum import is_quorum
from mesh.replication.state import NO_TAIL, Config, Promise, Replica, ReplicaLog, Term
from storage.types import LeaderEpoch, Offset

Role = Follower | Candidate | Leader


class Group:
    """The machine. It begins as a follower, whatever it was before it was restarted [1]."""

    __slots__ = ("holding", "patience", "role")

    def __init__(
        self,
        me: Replica,
        promise: Promise,
        log: ReplicaLog,
        *,
        rng: Rng,
        now_ms: int,
        memory: bool = False,
        start: int = 1,
        admitted: bool = True,
        hearing: Hearing | None = None,
    ) -> None:
        """Take up what is on disk.

        Args:
            me: this node with its data directory.
            promise: what the journal holds; with `unsure` set if the machine went down while
                acknowledgements did not wait for the disk.
            log: as recovery left it. If it ends below `promise.synced_end` it is damaged.
            rng: dice for waiting times.
            now_ms: monotonic clock.
            memory: acknowledge before the log is synced.
            start: which start of the node this is: a number that is larger at each.
            admitted: whether another member has answered the node since, or there is none;
                until Admitted goes in, we neither vote nor campaign.
            hearing: when each node was last heard of.
        """
        synced = min(promise.synced_end, log.log_end_offset)
        self.holding = Holding(
            me=me,
            promise=promise,
            journaled=promise,
            log=log,
            synced=synced,
            memory=memory,
            start=start,
            admitted=admitted,
        )
        self.holding.high_watermark = log.log_start_offset
        self.role: Role = Follower(holding=self.holding)
        self.patience = Patience(rng=rng, hearing=Deaf() if hearing is None else hearing)
        if promise.tombstone and (log.log_start_offset, log.log_end_offset) != (0, 0):
            self.holding.delete()  # We went down between the tombstone and this.
            self.patience.campaign_at_ms = now_ms
        else:
            self._wait(now_ms)

    @property
    def leader(self) -> Replica | None:
        """Who leads, as far as is known here."""
        match self.role:
            case Leader(installed=installed):
                return self.holding.me if installed else None
            case Follower(leader=leader):
                return leader
            case _:
                return None

    @property
    def takes_writes(self) -> bool:
        """Whether clients' batches may be appended to the log now; then Appended goes in."""
        return isinstance(self.role, Leader) and self.role.takes_writes

    @property
    def neglected_by(self) -> tuple[Replica, LeaderEpoch] | None:
        """The leader that is named to us, with its epoch, if we have a state and do not follow it.

        It may not know of us, for we voted by a config of the past, or missed the order to leave.
        Or it has nothing to say to us, and does not know that we campaigned in vain.
        """
        promise, named = self.holding.promise, self.patience.named
        if named is None or promise.tombstone or promise.is_blank:
            return None
        if isinstance(self.role, Leader):
            return None
        leader, leader_epoch = named
        if promise.leader_epoch > leader_epoch:
            return None
        is_fed = isinstance(self.role, Follower) and self.role.leader == leader
        return None if is_fed and promise.leader_epoch == leader_epoch else named

    def foresee_synced(self, end_offset: Offset) -> Promise | None:
        """Return what this group will promise if the sync under way reaches `end_offset`.

        The journal may be given it in the same round as the log, behind it: once the log is
        synced it is true, whatever the machine does meanwhile. None if that is not known.
        """
        if isinstance(self.role, Candidate):
            return None
        return self.role.foresee_synced(end_offset)

    @property
    def leader_epoch(self) -> LeaderEpoch:
        """Of what is promised."""
        return self.holding.promise.leader_epoch

    @property
    def high_watermark(self) -> Offset:
        """First offset that is not known to be on a quorum."""
        return self.holding.high_watermark

    @property
    def wake_at_ms(self) -> int | None:
        """When the next Tick is due; None while there is nothing to do by oneself."""
        patience = self.patience
        if not isinstance(self.role, Leader):
            return patience.campaign_at_ms
        return patience.resend_at_ms if self.role.others or self.role.leaving else None

    def on(self, event: ev.Event, now_ms: int) -> list[ev.Effect]:
        """Take one event and return its effects; their order is binding.

        What stands after Persist, Cut, Empty or Delete may happen only once that is durable, also
        if it comes from a later event; but what is AT_ONCE waits for nothing. The driver then
        reports Persisted or LogChanged, and appends what comes of it to what is still waiting.
        """
        holding = self.holding
        match event:
            case ev.Appended():
                if isinstance(self.role, Leader):
                    self.role.on_appended()
            case ev.Received(sender, message):
                self._receive(sender, message, now_ms)
            case ev.Persisted(promise):
                holding.journaled = promise
                self._on_persisted(now_ms)
            case ev.Synced(end_offset):
                holding.note_synced(end_offset)
                self._on_synced()
            case ev.LogChanged():
                holding.changing = False
                if isinstance(self.role, Follower):
                    self.role.ask()
            case ev.Tick():
                self._tick(now_ms)
            case ev.LeaderNamed(sender, leader_epoch):
                if leader_epoch >= self.leader_epoch and not isinstance(self.role, Leader):
                    self._hear_name(sender, leader_epoch, now_ms)
            case ev.LeaderUnnamed(heard_at_ms):
                self.patience.named = None
                self.patience.hear_leader(heard_at_ms, self._place)
            case ev.Announce():
                if isinstance(self.role, Leader) and self.role.installed:
                    self.role.announce()
            case ev.Reached(node_id):
                self._reached(node_id, now_ms)
            case ev.LinkOpened(node_id):
                self._reached(node_id, now_ms)
                if not isinstance(self.role, Leader):
                    self._hope(node_id, now_ms)
                elif self.role.installed:
                    self.role.probe(node_id)
            case ev.LinkClosed(node_id):
                named = None if self.patience.named is None else self.patience.named[0]
                if any(one and one.node_id == node_id for one in (self.leader, named)):
                    self.patience.link_closed(now_ms, self._place)
            case ev.Stalled():
                self._step_down()
            case ev.Rotten(base_offset):
                self._on_rotten(base_offset, now_ms)
            case ev.Admitted():
                holding.admitted = True
                self._wait(now_ms)
            case _:
                self._command(event, now_ms)
        if isinstance(self.role, Leader) and self.role.held_up:
            self.role.held_up = False
            self.patience.resend_soon(now_ms)
        if holding.unreadable is not None:
            self._heed_rot(holding.unreadable, now_ms)
        effects, holding.effects = holding.effects, []
        return effects

    def _hear_name(self, leader: Replica, leader_epoch: LeaderEpoch, now_ms: int) -> None:
        patience = self.patience
        before, patience.named = patience.named, (leader, leader_epoch)
        if before == patience.named and self.neglected_by is not None:
            patience.heard_at_ms = now_ms  # We ask when that is due, however often it beats.
        else:
            patience.hear_leader(now_ms, self._place)

    def _hope(self, node_id: int, now_ms: int) -> None:
        """Campaign soon, if that was in vain before: a voter can be reached again."""
        voters = self.holding.promise.config.voters
        if self.leader is None and any(voter.node_id == node_id for voter in voters):
            self.patience.hope(now_ms, self._place)

    def _reached(self, node_id: int, now_ms: int) -> None:
        if isinstance(self.role, Leader):
            self.patience.reached(now_ms, [r for r in self.role.others if r.node_id == node_id])

    def _command(
        self,
        event: ev.Trim | ev.Adopt | ev.Reconfigure | ev.HandOver,
        now_ms: int,
    ) -> None:
        role = self.role
        if not isinstance(role, Leader) or not role.installed:
            self.holding.effects.append(ev.NotLeader())
            return
        match event:
            case ev.Trim(log_start_offset):
                role.trim(log_start_offset)
            case ev.Adopt(learners):
                role.adopt(learners)
            case ev.Reconfigure(voters):
                role.reconfigure(voters)
            case ev.HandOver(target):
                role.hand_over(target)
                self.patience.begin_hand_over(now_ms)
            case _:
                assert_never(event)

    def _receive(self, sender: Replica, message: msg.Message, now_ms: int) -> None:
        role = self.role
        if isinstance(role, Leader) and sender in role.others:
            self.patience.replied(now_ms, sender)
        match message:
            case msg.VoteRequest():
                self._on_vote_request(sender, message, now_ms)
            case msg.VoteReply():
                self._on_vote_reply(sender, message)
            case msg.Append():
                self._on_append(sender, message, now_ms)
            case msg.Refused(promised_epoch, config):
                self._learn(promised_epoch, config)
            case msg.Campaign(leader_epoch):
                self._on_campaign(sender, leader_epoch, now_ms)
            case msg.Leave():
                self._on_leave(sender, message)
            case msg.Held() | msg.Mismatch() | msg.Left() | msg.Astray():
                if isinstance(role, Leader) and role.leader_epoch == message.leader_epoch:
                    self._to_leader(role, sender, message)
            case _:
                assert_never(message)

    def _to_leader(
        self,
        role: Leader,
        sender: Replica,
        message: msg.Held | msg.Mismatch | msg.Left | msg.Astray,
    ) -> None:
        match message:
            case msg.Held():
                role.on_held(sender, message)
            case msg.Mismatch():
                role.on_mismatch(sender, message)
            case msg.Left():
                role.on_left(sender, message)
            case msg.Astray():
                role.on_astray(sender)
            case _:
                assert_never(message)

    def _on_vote_request(self, sender: Replica, request: msg.VoteRequest, now_ms: int) -> None:
        holding, promise = self.holding, self.holding.promise
        trusted = request.last_resort or not promise.unsure
        granted = self._would_grant(sender, request) and trusted and holding.admitted
        led = isinstance(self.role, Leader) or self.patience.shields_leader(now_ms)
        if request.pre:
            granted = granted and not led
            if granted:
                self._make_way(sender, now_ms)
        elif granted:
            # Whoever grants follows the old leader no more: what it has not acknowledged to that
            # one yet, it never will [1].
            if request.leader_epoch > promise.leader_epoch:
                self._step_down()
                holding.persist(leader_epoch=request.leader_epoch, voted_for=sender, session=0)
            self.patience.wait(now_ms, self._place)
        promise = holding.promise
        reply = msg.VoteReply(
            request.leader_epoch,
            request.pre,
            granted,
            promise.leader_epoch,
            promise.config,
            promise.log_start_offset,
            holding.tail if request.pre else NO_TAIL,
            promise.unsure,
            request.pre and led,
        )
        holding.send(sender, reply)

    def _make_way(self, sender: Replica, now_ms: int) -> None:
        """Let a voter that would be elected go first: two that campaign at once may both fail.

        Two that ask each other at once go on by their places.
        """
        role, voters = self.role, self.holding.promise.config.voters
        if isinstance(role, Candidate):
            if role.stage != "asking" or sender not in voters:
                return
            if voters.index(sender) > self._place:
                return
            self.role = Follower(holding=self.holding)
        self.patience.wait(now_ms, self._place)

    def _would_grant(self, sender: Replica, request: msg.VoteRequest) -> bool:
        promise = self.holding.promise
        again = request.leader_epoch == promise.leader_epoch and promise.voted_for == sender
        return (
            (request.leader_epoch > promise.leader_epoch or (again and not request.pre))
            and request.config_id >= promise.config.id
            and request.position
            >= (self.holding.tail if request.last_resort else self.holding.position)
        )

    def _on_vote_reply(self, sender: Replica, reply: msg.VoteReply) -> None:
        if not reply.granted:
            self._learn(reply.promised_epoch, reply.config)
        if isinstance(self.role, Candidate):
            self.role.on_reply(sender, reply)
            self._lead_if_elected()

    def _on_append(self, sender: Replica, append: msg.Append, now_ms: int) -> None:
        holding, promise = self.holding, self.holding.promise
        term = Term(append.leader_epoch, append.session)
        if append.leader_epoch < promise.leader_epoch:
            holding.send(sender, msg.Refused(promise.leader_epoch, promise.config))
            return
        if term < promise.term:
            return  # Of an earlier session with the same leader: late, not wrong.
        self.patience.hear_leader(now_ms, self._place)
        if term > promise.term:
            # Promised first, obeyed only when that is durable: the leader sends it again [3].
            self._step_down()
            holding.learn(append.leader_epoch, append.config, append.session, tombstone=False)
            self._follower(sender).ask()
            return
        if promise.tombstone:
            return  # It was sent before we were told to leave.
        holding.learn(append.leader_epoch, append.config)
        if holding.journaled.term == term == holding.promise.term:
            self._follower(sender).on_append(append)

    def _follower(self, leader: Replica) -> Follower:
        """Return the role, a follower of this leader from now on."""
        if not isinstance(self.role, Follower):
            self._step_down()
        assert isinstance(self.role, Follower)
        self.role.leader = leader
        return self.role

    def _on_campaign(self, sender: Replica, leader_epoch: LeaderEpoch, now_ms: int) -> None:
        role = self.role
        warranted = isinstance(role, Follower) and role.leader == sender
        if warranted and leader_epoch == self.leader_epoch and self.holding.may_campaign:
            self.patience.fail(now_ms, self._place)
            candidate = Candidate(holding=self.holding)
            self.role = candidate
            candidate.sync()

    def _on_leave(self, sender: Replica, order: msg.Leave) -> None:
        holding, promise = self.holding, self.holding.promise
        if (order.leader_epoch, order.config.id) < (promise.leader_epoch, promise.config.id):
            holding.send(sender, msg.Refused(promise.leader_epoch, promise.config))
            return
        term = Term(order.leader_epoch, order.session)
        if term < promise.term or order.config.id < promise.config.id or holding.changing:
            return
        if holding.me in order.config.voters:
            return  # No leader says that.
        if not promise.tombstone:
            self._step_down()
            left = {"log_epoch": -1, "synced_end": 0, "log_start_offset": 0, "unsure": False}
            holding.learn(order.leader_epoch, order.config, order.session, tombstone=True, **left)
            holding.delete()
        holding.send(sender, msg.Left(order.leader_epoch, order.session))

    def _on_persisted(self, now_ms: int) -> None:
        match self.role:
            case Candidate() as candidate:
                candidate.on_persisted()
                self._lead_if_elected()
            case Leader() as leader:
                if not leader.installed:
                    self.patience.lead(now_ms, leader.others)
                leader.on_persisted()
            case Follower():
                pass

    def _on_synced(self) -> None:
        match self.role:
            case Candidate() as candidate:
                candidate.go_on()
            case Leader() as leader:
                leader.on_synced()
            case Follower() as follower:
                follower.settle()
                self.holding.sync()

    def _lead_if_elected(self) -> None:
        if isinstance(self.role, Candidate) and self.role.elected:
            candidate, end = self.role, self.holding.log_end
            # As a last resort a log is elected that may end below another's start.
            log_start_offset = min(max(candidate.grants.values()), end)
            leader = Leader(
                holding=self.holding,
                leader_epoch=self.leader_epoch,
                epoch_start=end,
                unsure=candidate.unsure if candidate.last_resort else (),
            )
            self.role = leader
            leader.start(log_start_offset)

    def _learn(self, leader_epoch: LeaderEpoch, config: Config) -> None:
        """Take up what a refusal says; a campaign or leadership of an older epoch is over."""
        before = self.holding.promise
        if leader_epoch > before.leader_epoch or config.id > before.config.id:
            self._step_down()
            self.holding.learn(leader_epoch, config)

    def _step_down(self) -> None:
        """Be a follower that knows no leader."""
        if isinstance(self.role, Leader) and self.role.installed:
            self.holding.effects.append(ev.StepDown(self.role.leader_epoch))
        self.role = Follower(holding=self.holding)
        if self.holding.rotten is not None:
            self.holding.cut_rotten()

    def _on_rotten(self, base_offset: Offset, now_ms: int) -> None:
        """Have a bad batch, and what follows it, repaired from a peer; a leader hands over."""
        holding, role = self.holding, self.role
        inside = holding.log.log_start_offset <= base_offset < holding.log_end
        if holding.changing or not inside:
            return  # If it is still there afterwards, it will be found again.
        holding.rotten = base_offset
        if isinstance(role, Leader) and role.installed and (to := role.successor) is not None:
            role.hand_over(to)
            self.patience.begin_hand_over(now_ms)
        elif isinstance(role, Follower):
            role.lose(base_offset)
            holding.cut_rotten()
        else:
            self._step_down()

    def _heed_rot(self, base_offset: Offset, now_ms: int) -> None:
        """A leader cannot give others what it has: if another voter can lead, that is to."""
        self.holding.unreadable = None
        role = self.role
        if isinstance(role, Leader) and role.handing_to is None and role.successor is not None:
            self.holding.effects.append(ev.FoundRot(base_offset))
            self._on_rotten(base_offset, now_ms)

    def _wait(self, now_ms: int) -> None:
        """Begin to wait for a leader, if there may be any."""
        promise, me = self.holding.promise, self.holding.me
        first = promise.leader_epoch < 0 and promise.config.voters[:1] == (me,)
        if first or promise.config.voters == (me,):
            self.patience.campaign_at_ms = now_ms  # There is nobody to wait for.
        else:
            self.patience.wait(now_ms, self._place)

    def _tick(self, now_ms: int) -> None:
        if isinstance(self.role, Leader):
            self._tick_leader(self.role, now_ms)
            return
        if now_ms < self.patience.campaign_at_ms:
            return
        self.patience.fail(now_ms, self._place)
        holding = self.holding
        if (neglected_by := self.neglected_by) is not None:
            leader, leader_epoch = neglected_by
            self._step_down()
            holding.send(leader, msg.Astray(leader_epoch))
        elif holding.may_ask:
            candidate = Candidate(holding=holding)
            self.role = candidate
            candidate.ask()
            self._lead_if_elected()
        elif not holding.promise.tombstone and holding.me not in holding.promise.config.voters:
            for voter in holding.promise.config.voters:
                holding.send(voter, msg.Astray(self.leader_epoch))

    def _tick_leader(self, leader: Leader, now_ms: int) -> None:
        patience = self.patience
        answering = patience.answering(now_ms) | {self.holding.me}
        if leader.installed and not is_quorum(self.holding.promise.config, answering):
            self._step_down()
            patience.wait(now_ms, self._place)
            return
        if patience.hand_over_until_ms is not None and now_ms >= patience.hand_over_until_ms:
            patience.hand_over_until_ms = None
            if self.holding.rotten is not None:
                self._step_down()
                return
            leader.take_back()
        if leader.installed:
            busy = {one for one in leader.others if patience.has_answered(one, now_ms)}
            patience.resend_later(now_ms, in_vain=not busy and leader.is_unanswered)
            leader.feed_all(busy)
        else:
            patience.resend_later(now_ms, in_vain=False)

    @property
    def _place(self) -> int:
        """Our place in the voter list; whoever is not in it has the last."""
        voters = self.holding.promise.config.voters
        return voters.index(self.holding.me) if self.holding.me in voters else len(voters)
