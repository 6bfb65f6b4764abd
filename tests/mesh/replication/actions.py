"""What a replica of an exploration may do, and what it does when it does it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from mesh.replication import events as ev
from mesh.replication import messages as msg
from mesh.replication.candidate import Candidate
from mesh.replication.follower import Follower
from mesh.replication.leader import Leader
from mesh.replication.state import Replica
from storage.types import Offset
from tests.mesh.replication.bounds import Bound
from tests.mesh.replication.model_node import NEVER_MS, Frame, Node


class Kind(IntEnum):
    """What happens."""

    HEAR = 0
    STEP = 1
    SYNC = 2
    WRITE = 3
    RESEND = 4
    GIVE_UP = 5
    CAMPAIGN = 6
    DISMISS = 7
    ADOPT = 8
    TOGGLE = 9
    CRASH = 10
    RECREATE = 11
    WIPE = 12
    LOSE_MACHINE = 13
    LAST_RESORT = 14
    SNAPSHOT = 15
    RESTORE = 16
    BEAT = 17


class Budget(IntEnum):
    """What may happen only so often."""

    CRASH = 0
    CAMPAIGN = 1
    RECONFIGURE = 2
    ADOPT = 3
    WIPE = 4
    UNCLEAN = 5
    SNAPSHOT = 6
    RESTORE = 7


class Action(NamedTuple):
    """Something that happens to one replica."""

    kind: Kind
    number: int = 0
    """Of the packet that is heard; of the replica that is adopted or whose vote changes; 1 if
    the node that lost its machine begins without memory mode."""
    persists: int = -1
    """A restart ends it after so many writes to the journal; -1: it does not."""
    kept: Offset = 0
    """Where the log ends after the restart."""

    @property
    def costs(self) -> tuple[Budget, ...]:
        """What it uses up."""
        own = COSTS.get(self.kind, ())
        return own if self.persists < 0 else (*own, Budget.CRASH)


COSTS: dict[Kind, tuple[Budget, ...]] = {
    Kind.CAMPAIGN: (Budget.CAMPAIGN,),
    Kind.TOGGLE: (Budget.RECONFIGURE,),
    Kind.ADOPT: (Budget.ADOPT,),
    Kind.CRASH: (Budget.CRASH,),
    Kind.WIPE: (Budget.WIPE,),
    Kind.LOSE_MACHINE: (Budget.UNCLEAN,),
    Kind.LAST_RESORT: (Budget.CAMPAIGN,),
    Kind.SNAPSHOT: (Budget.SNAPSHOT,),
    Kind.RESTORE: (Budget.RESTORE,),
}


def replica(index: int, life: int = 0) -> Replica:
    return Replica(index + 1, "abcdefg"[index] + "'" * life)


def budgets(bound: Bound) -> tuple[int, ...]:
    """Return how much there is of each budget; what is never used up counts as -1."""
    campaigns = bound.campaigns if bound.campaigns < 99 else -1
    return (
        bound.crashes,
        campaigns,
        bound.reconfigurations,
        bound.adoptions,
        bound.wipes,
        bound.unclean,
        bound.old_disks,
        bound.old_disks,
    )


def names(bound: Bound) -> tuple[Replica, ...]:
    """Return every replica that there may be."""
    lives = range(bound.wipes + bound.old_disks + 1)
    return tuple(replica(index, life) for life in lives for index in range(bound.voters))


def possible(node: Node, bound: Bound) -> Iterator[Action]:
    """Yield what a replica may do by itself."""
    if node.queue:
        yield Action(Kind.STEP)
    if node.log.syncing is not None:
        yield Action(Kind.SYNC)
    if bound.crashes and node.group is not None:
        for kept in keepable(node):
            yield Action(Kind.CRASH, kept=kept)
    if bound.unclean and node.memory and node.group is not None:
        for kept in range(node.log.durable, node.log.log_end_offset + 1):
            yield Action(Kind.LOSE_MACHINE, kept=kept)
            if bound.switches:
                yield Action(Kind.LOSE_MACHINE, number=1, kept=kept)
    if node.standing is not None and node.group is not None:
        if node.snapshot is not None:
            yield Action(Kind.RESTORE)
        yield Action(Kind.SNAPSHOT)
        if node.standing.admitted:
            yield Action(Kind.BEAT)
    if bound.wipes:
        yield Action(Kind.WIPE)
    yield Action(Kind.RECREATE)
    group = node.group
    if group is None:
        return
    role = group.role
    if isinstance(role, Leader):
        if role.installed:
            yield from _leading(node, bound)
        return
    ready = isinstance(role, Follower | Leader) or role.stage != "syncing"
    if not ready or group.leader_epoch + 1 >= bound.epochs:
        return
    if group.holding.may_campaign:
        yield Action(Kind.CAMPAIGN)
    if bound.unclean and group.holding.may_ask:
        yield Action(Kind.LAST_RESORT)


def _leading(node: Node, bound: Bound) -> Iterator[Action]:
    if node.log.log_end_offset < bound.entries:
        yield Action(Kind.WRITE)
    if bound.resends:
        yield Action(Kind.RESEND)
        yield Action(Kind.GIVE_UP)
    if bound.reconfigurations:
        yield Action(Kind.DISMISS)
    for number, other in enumerate(names(bound)):
        if other.node_id == node.me.node_id:
            continue
        if bound.reconfigurations:
            yield Action(Kind.TOGGLE, number)
        if bound.adoptions:
            yield Action(Kind.ADOPT, number)


def keepable(node: Node) -> Iterator[Offset]:
    """Yield where the log may end after a restart."""
    end = node.log.log_end_offset
    yield from range(end if node.memory else node.log.durable, end + 1)


def perform(node: Node, action: Action, bound: Bound) -> Iterator[ev.Effect]:
    """Do what is no message, and yield what a history is to know of it beside effects."""
    match action.kind:
        case Kind.STEP:
            node.step()
        case Kind.SYNC:
            node.finish_sync()
        case Kind.WRITE:
            node.write((node.me, node.written) if bound.claims else node.me)
        case Kind.SNAPSHOT:
            node.take_snapshot()
        case Kind.RESTORE:
            node.restore()
        case Kind.BEAT:
            node.links.append((None, Frame()))
        case Kind.RESEND:
            node.feed(ev.Tick())
        case Kind.GIVE_UP:
            node.feed(ev.Stalled())
        case Kind.CAMPAIGN:
            elect(node)
        case Kind.LAST_RESORT:
            elect(node, last_resort=True)
        case Kind.LOSE_MACHINE:
            node.memory = action.number == 0
            node.lose_machine(action.kept)
        case Kind.DISMISS:
            node.feed(ev.Adopt(()))
        case Kind.ADOPT:
            node.feed(ev.Adopt((names(bound)[action.number],)))
        case Kind.TOGGLE:
            yield from _toggle(node, names(bound)[action.number])
        case Kind.CRASH:
            node.crash(action.kept)
        case Kind.RECREATE:
            node.recreate(tuple(replica(index) for index in range(bound.voters)))
        case Kind.WIPE:
            node.wipe()
        case _:
            raise AssertionError(action)


def _toggle(node: Node, other: Replica) -> Iterator[ev.Effect]:
    assert node.group is not None
    holding = node.group.holding
    before = holding.promise.config
    node.feed(ev.Reconfigure(tuple(sorted(set(before.voters) ^ {other}))))
    if holding.promise.config != before:
        yield ev.Persist(holding.promise)


def elect(node: Node, *, last_resort: bool = False) -> None:
    """Have a replica campaign as if everybody had encouraged it: that is never a promise.

    Args:
        node: whose replica campaigns.
        last_resort: as if everybody else had said, too, that it is unsure and has nothing.
    """
    group = node.group
    assert group is not None
    before = len(node.queue)
    node.feed(ev.Tick(), NEVER_MS)
    assert isinstance(group.role, Candidate)
    waiting = node.queue[before:]
    del node.queue[before:]
    node.queue += [effect for effect in waiting if not is_pre(effect)]
    promise = group.holding.promise
    for voter in promise.config.voters:
        role: object = group.role
        if isinstance(role, Candidate) and role.stage == "asking" and voter != node.me:
            epoch = promise.leader_epoch + 1
            known = (epoch - 1, promise.config, 0)
            yes = msg.VoteReply(epoch, True, not last_resort, *known, unsure=last_resort)
            node.feed(ev.Received(voter, yes))


def is_pre(effect: ev.Effect) -> bool:
    return (
        isinstance(effect, ev.Send)
        and isinstance(effect.message, msg.VoteRequest)
        and effect.message.pre
    )


LABELS = {
    Kind.STEP: "carries on",
    Kind.SYNC: "has synced",
    Kind.WRITE: "appends",
    Kind.RESEND: "repeats itself",
    Kind.GIVE_UP: "gives up",
    Kind.CAMPAIGN: "campaigns",
    Kind.DISMISS: "dismisses who is no voter",
    Kind.RECREATE: "makes its first state from the registry's record",
    Kind.CRASH: "restarts",
    Kind.LOSE_MACHINE: "loses its machine in memory mode",
    Kind.LAST_RESORT: "campaigns as a last resort",
    Kind.SNAPSHOT: "has its disk copied",
    Kind.RESTORE: "returns with the copy in the place of its disk",
    Kind.BEAT: "sends a heartbeat",
    Kind.WIPE: "returns with an empty disk",
}


def label(action: Action, known: tuple[Replica, ...], others: dict[Replica, Replica]) -> str:
    """Say what happens; what is heard is the caller's to say.

    Args:
        action: what happens.
        known: every replica that there may be.
        others: by what names replicas are called instead of their own.
    """
    if action.kind not in (Kind.ADOPT, Kind.TOGGLE):
        return LABELS.get(action.kind, "")
    other = known[action.number]
    name = others.get(other, other).directory_id
    return f"adopts {name}" if action.kind is Kind.ADOPT else f"changes whether {name} votes"
