"""What must hold whatever happens: over the whole group, and between what is said and on disk."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from mesh.replication import events as ev
from mesh.replication import messages as msg
from mesh.replication.state import NO_OFFSET, Config, Entry, Promise, Replica
from storage.types import LeaderEpoch

Log = tuple[Entry, ...]


class History(NamedTuple):
    """What happened so far, as far as it must hold later."""

    committed: tuple[tuple[LeaderEpoch, Log], ...] = ()
    """The longest that each leader reported as committed."""
    led: tuple[tuple[LeaderEpoch, object, Log], ...] = ()
    """Each leader, with the log that it began with."""
    configs: tuple[Config, ...] = ()
    """What voters leaders have made; only where they may be changed."""


class Broken(NamedTuple):
    """An invariant that does not hold, and the steps that led there."""

    invariant: str
    steps: tuple[str, ...]


def prefix(shorter: Log, longer: Log) -> bool:
    return longer[: len(shorter)] == shorter


def common(left: Log, right: Log) -> Log:
    """Return with what both begin."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False))
    return tuple(pair[0] for pair in pairs)


def judge(history: History, happened: ev.Effect, who: object, log: Log) -> History | str:
    """Take what a leader reported into the history; a text if it may not be."""
    match happened:
        case ev.Lead(leader_epoch=epoch):
            for other, _, _ in history.led:
                if other == epoch:
                    return f"two leaders in epoch {epoch}"
            led = (*history.led, (epoch, who, log))
            history = history._replace(led=tuple(sorted(led, key=lambda item: item[0])))
        case ev.Committed(high_watermark=end):
            epoch = max(epoch for epoch, other, _ in history.led if other == who)
            if end > len(log):
                return "committed above the log's end"
            rest = tuple(item for item in history.committed if item[0] != epoch)
            committed = tuple(sorted((*rest, (epoch, log[:end])), key=lambda item: item[0]))
            history = history._replace(committed=committed)
        case ev.Advanced(high_watermark=end):
            if not any(prefix(log[:end], known) for _, known in history.committed):
                return "a follower takes for committed what is not"
            return history
        case ev.LossPossible():
            # From here on the group goes on with this log; it said what that may mean.
            kept = tuple((epoch, common(committed, log)) for epoch, committed in history.committed)
            return history._replace(committed=kept)
        case ev.Persist(promise):
            return judge_config(history, promise.config)
        case _:
            return history
    for epoch, committed_log in history.committed:
        for later, _, log_then in history.led:
            if later > epoch and not prefix(committed_log, log_then):
                return f"the leader of epoch {later} lacks what epoch {epoch} committed"
    for (_, left), (_, right) in itertools.combinations(history.committed, 2):
        if not prefix(left, right) and not prefix(right, left):
            return "two values at one offset"
    return history


def judge_config(history: History, config: Config) -> History | str:
    """Take in the voters that a leader made: one set for each config id, and by steps of one."""
    for known in history.configs:
        if known.id == config.id:
            return history if known == config else f"two configs {config.id}"
        steps = known.config_epoch == config.config_epoch and abs(
            known.config_version - config.config_version
        )
        if steps == 1 and len(set(known.voters) ^ set(config.voters)) != 1:
            return f"more than one voter changed at once for {config.id}"
    return history._replace(configs=tuple(sorted((*history.configs, config))))


def regress(before: Promise, after: Promise) -> str:
    """Say what a journal took back that it may not; empty if nothing."""
    if after.term < before.term:
        return "the journal takes back an epoch"
    if after.leader_epoch == before.leader_epoch and before.voted_for not in (
        None,
        after.voted_for,
    ):
        return "the journal takes back a vote"
    if after.config.id < before.config.id:
        return "the journal takes back a config"
    if after.log_epoch < before.log_epoch and not after.tombstone:
        return "the journal takes back whose log it has"
    return ""


def unwarranted(loss: ev.LossPossible, voters: tuple[Replica, ...]) -> str:
    """Say why there was no need for a last resort; empty if there was."""
    sure = set(voters) - set(loss.unsure)
    return "a last resort although a majority is sure" if 2 * len(sure) > len(voters) else ""


def unfounded(effect: ev.Send, journal: Promise, log_durable: int, *, memory: bool) -> str:
    """Say what a message promises that is not on its sender's disk; empty if all of it is.

    A restart right after the message would take that back.
    """
    match effect.message:
        case msg.VoteReply(granted=True, pre=False) as reply:
            kept = journal.leader_epoch == reply.leader_epoch and journal.voted_for == effect.to
            if not kept and journal.leader_epoch <= reply.leader_epoch:
                return "a vote is sent that the journal does not hold"
        case msg.VoteRequest(pre=False) as request:
            if journal.leader_epoch < request.leader_epoch:
                return "a campaign begins in an epoch that the journal does not hold"
        case msg.Held() as held if held.leader_epoch == journal.leader_epoch:
            if journal.config.id < held.config_id:
                return "a config is acknowledged that the journal does not hold"
            if held.counted_end == NO_OFFSET or journal.tombstone:
                return ""
            if journal.log_epoch != held.leader_epoch:
                return "what is acknowledged counts, but the journal does not say whose log it is"
            if not memory and held.counted_end > min(journal.synced_end, log_durable):
                return "more is acknowledged than is on disk, or than the journal says"
        case msg.Held() as held if held.leader_epoch > journal.leader_epoch:
            return "an epoch is acknowledged that the journal does not hold"
        case msg.Left() as left:
            if not journal.tombstone and journal.term <= (left.leader_epoch, left.session):
                return "a replica says that it left, and the journal does not"
        case _:
            pass
    return ""
