"""Messages, effects and states of a group as a person reads them.

`1/2` is a leader's epoch and session, `1.0 abc` a config (epoch, version, voters), `y@1` an entry
of epoch 1, `(0, 2)` a log position (log_epoch, log end). Offsets that end something are exclusive.
"""

from __future__ import annotations

from typing import assert_never

from mesh.replication import events as ev
from mesh.replication import messages as msg
from mesh.replication.state import (
    NO_OFFSET,
    Config,
    ConfigId,
    Entry,
    LogPosition,
    Promise,
    Replica,
)
from storage.types import Offset


def name(replica: Replica | None) -> str:
    return "nobody" if replica is None else replica.directory_id


def names(replicas: tuple[Replica, ...]) -> str:
    return "".join(name(replica) for replica in replicas) or "nobody"


def config_id(found: ConfigId) -> str:
    return f"{found.config_epoch}.{found.config_version}"


def config(found: Config) -> str:
    return f"config {config_id(found.id)} {names(found.voters)}"


def entries(found: tuple[Entry, ...]) -> str:
    return f"[{' '.join(f'{entry.data}@{entry.leader_epoch}' for entry in found)}]"


def position(found: LogPosition) -> str:
    return f"({found.log_epoch}, {found.log_end})"


def message(found: msg.Message) -> str:
    match found:
        case msg.VoteRequest(epoch, wanted, mine, pre, last_resort):
            ask = "would you vote for me" if pre else "vote for me"
            ask += ", as a last resort," if last_resort else ""
            return f"{ask} in {epoch}? my config {config_id(wanted)}, my log {position(mine)}"
        case msg.VoteReply():
            return _vote(found)
        case msg.Append():
            return _append(found)
        case msg.Held(epoch, session, log_end, counted_end, held, start, unsure):
            counted = "nothing of it" if counted_end == NO_OFFSET else f"to {counted_end} it"
            text = f"{epoch}/{session} I agree to {log_end}, {counted} counts"
            return f"{text}, config {config_id(held)}{_start(start)}{_unsure(unsure)}"
        case msg.Mismatch(epoch, session, mine, end, unsure):
            return f"{epoch}/{session} my log of {mine} ends at {end}{_unsure(unsure)}"
        case msg.Refused(epoch, mine_config):
            return f"refused: I promised {epoch}, {config(mine_config)}"
        case msg.Campaign(epoch):
            return f"campaign! by order of the leader of {epoch}"
        case msg.Astray(epoch):
            return f"I follow {epoch}, and do not vote; what shall become of me?"
        case msg.Leave(epoch, session, without):
            return f"{epoch}/{session} leave! {config(without)}"
        case msg.Left(epoch, session):
            return f"{epoch}/{session} I have left"
        case _:
            assert_never(found)


def _vote(found: msg.VoteReply) -> str:
    if not found.granted:
        return f"no vote in {found.leader_epoch}: I promised {found.promised_epoch}, " + config(
            found.config
        )
    would = "would have my vote" if found.pre else "has my vote"
    return f"{found.leader_epoch} {would}{_start(found.log_start_offset)}"


def _append(found: msg.Append) -> str:
    after = f", after an entry of {found.previous_epoch}" if found.previous_epoch >= 0 else ""
    what = f"do we agree to {found.base_offset}{after}?"
    if found.entries:
        what = f"{entries(found.entries)} at {found.base_offset}{after};"
    sure = "" if found.sure_end == NO_OFFSET else f", sure at {found.sure_end}"
    return (
        f"{found.leader_epoch}/{found.session} {what} my epoch starts at {found.epoch_start}, "
        f"committed to {found.high_watermark}, {config(found.config)}"
        f"{_start(found.log_start_offset)}{sure}"
    )


def _start(log_start_offset: int) -> str:
    return f", log from {log_start_offset}" if log_start_offset else ""


def _unsure(start: int) -> str:
    return f", unsure since start {start}" if start else ""


def journal(before: Promise | None, after: Promise) -> str:
    """Say what a write to the journal changes."""
    changes = [
        f"{field} {_value(value)}"
        for field, value in after._asdict().items()
        if before is None or getattr(before, field) != value
    ]
    return "journal: " + ", ".join(changes)


def _value(value: object) -> str:
    match value:
        case Config():
            return f"{config_id(value.id)} {names(value.voters)}"
        case Replica() | None:
            return name(value)
        case _:
            return str(value)


def effect(found: ev.Effect) -> str:
    match found:
        case ev.Persist(promise):
            return journal(None, promise)
        case ev.SyncLog():
            return "syncs its log"
        case ev.Cut(end):
            return f"cuts its log at {end}"
        case ev.Empty(start):
            return f"empties its log; it begins at {start} now"
        case ev.Delete():
            return "deletes its log"
        case ev.Send(to, sent):
            return f"to {name(to)}: {message(sent)}"
        case ev.Lead(epoch, start):
            return f"LEADS in {epoch}, from {start} on"
        case ev.StepDown(epoch):
            return f"leads no more in {epoch}"
        case ev.FoundRot(base_offset):
            return f"finds that its log is not what was written, from {base_offset} on"
        case ev.LossPossible(_, end, unsure):
            doubtful = "".join(name(replica) for replica in unsure)
            return f"was elected as a last resort with a log to {end}; {doubtful} may lack some"
        case ev.NotLeader():
            return "does not lead"
        case ev.NotYet(reason):
            return f"not yet: {reason}"
        case ev.Committed(end):
            return f"COMMITTED to {end}"
        case ev.Advanced(end):
            return f"knows that it is committed to {end}"
        case ev.Trimmed(start):
            return f"the log may begin at {start}"
        case _:
            assert_never(found)


def command(found: ev.Event) -> str:
    match found:
        case ev.Trim(start):
            return f"delete records below {start}"
        case ev.Adopt(learners):
            return f"learners are {names(learners)}"
        case ev.Reconfigure(voters):
            return f"voters be {names(voters)}"
        case ev.HandOver(target):
            return f"hand over to {name(target)}"
        case ev.Stalled():
            return "the disk stalls"
        case ev.Announce():
            return "say what is committed"
        case ev.LinkOpened(node_id):
            return f"a link to node {node_id} is open"
        case _:
            return str(found)


def standing(role: str, promise: Promise, synced_end: Offset, log: tuple[Entry, ...]) -> str:
    """Say what a replica is and has, in a few words; `synced_end` is what its journal says."""
    return (
        f"{role} in {promise.leader_epoch}, log of {promise.log_epoch} {entries(log)}, "
        f"synced to {synced_end}, voters {names(promise.config.voters)}"
    )
