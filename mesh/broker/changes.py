"""A request that changes several things: each is planned by itself, and answered for itself.

What was refused changes nothing and does not hinder the others; the response leaves once all that
was proposed is committed, or at its deadline.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from mesh.broker.purgatory import AfterCommit
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import Now
from mesh.registry import Plan
from mesh.wire import Message

if TYPE_CHECKING:
    from mesh.broker.api import Request
    from mesh.broker.broker import Broker
    from mesh.broker.partition import Partition
    from storage.types import LeaderEpoch, Offset

R = TypeVar("R", bound=Message)


class Result(Protocol):
    """What a response says of one thing."""

    error_code: int
    error_message: str | None


Change: TypeAlias = tuple[Result, int, Callable[[], Plan | None]]
"""Where to answer, the shard that it is about, and how to plan; the call may raise KafkaError, and
gives None where nothing is to be agreed on."""


def refuse(result: Result, error: KafkaError) -> None:
    """Answer with an error."""
    result.error_code, result.error_message = error.code, error.message


@dataclass(frozen=True, slots=True)
class _Rest:
    """An answer that rests on what a shard held when it was made."""

    shard: Partition
    end_offset: Offset
    leadership: int
    leader_epoch: LeaderEpoch
    tell: Callable[[KafkaError], None]
    """Takes the error that is the answer instead."""

    def is_committed(self) -> bool | None:
        """Say whether that is committed, whoever leads now; None if it is not known yet."""
        held = self.shard.holds_committed(self.end_offset, self.leadership)
        return self.shard.outlived(self.end_offset, self.leader_epoch) if held is False else held


class Proposals:
    """What one request proposed, and which of its answers wait for a commit."""

    def __init__(self, broker: Broker, now: Now) -> None:
        """Nothing so far."""
        self._broker = broker
        self._now = now
        self._names: dict[str, None] = {}
        """Topics that something was proposed for."""
        self._ends: dict[Partition, Offset] = {}
        self._pending: list[_Rest] = []

    def add(self, plan: Plan) -> None:
        """Propose a plan that was checked just now, so that it applies once it is committed.

        Raises:
            KafkaError: the disk does not take it.
        """
        if plan.topic is not None:
            self._names[plan.topic.name] = None
        if plan.records:
            self._broker.propose(plan, self._now)

    def rest(self, shard_index: int, late: Callable[[KafkaError], None]) -> None:
        """Let an answer wait for all that was appended to a shard by now.

        It rests on that, be it a refusal: a topic that is said to exist must not be gone after
        a crash because its own record was not on disk yet.

        Args:
            shard_index: of what the answer is about.
            late: takes the error that the deadline gives what is not committed by then.
        """
        shard = self._broker.shards[shard_index]
        if not self._broker.registry_shards.is_loaded(shard):
            return  # What every node answers by itself rests on no record.
        end_offset = shard.log.log_end_offset
        if self._broker.registry.replayed_ends[shard_index] < end_offset:
            self._ends[shard] = end_offset
            self._pending.append(
                _Rest(shard, end_offset, shard.leadership, shard.leader_epoch, late)
            )

    def answer(self, response: R, wait_ms_max: int) -> R | AfterCommit:
        """Return the response, or what makes it once all is committed or the time is up."""
        if not self._pending:
            return response
        registry, ends = self._broker.registry, list(self._ends.items())

        def finish(committed: bool, now: Now) -> R:
            # What is committed was granted. What has become of it since is another matter: a
            # topic may have been deleted, and made anew, in the same round.
            late = KafkaError(ErrorCode.REQUEST_TIMED_OUT, "The request timed out.")
            # The relay takes this for a reason to ask again, where the shard is led now.
            lost = KafkaError(ErrorCode.NOT_CONTROLLER, "This node leads that shard no more.")
            for rest in self._pending:
                if committed or (held := rest.is_committed()):
                    continue
                rest.tell(late if held is None else lost)
            return response

        def served() -> bool:
            """Say whether what was done can be seen here.

            That new partitions have leaders, too: a client's next question is for them. What is
            committed is replayed once no thread works in directories, and a shard is asked about
            before that where something else is led anew.
            """
            if any(registry.replayed_ends[shard.index] < end for shard, end in ends):
                return False
            topics = map(registry.topics.get, self._names)
            return all(topic is None or self._broker.serves(topic) for topic in topics)

        deadline_ms = self._now.monotonic_ms + wait_ms_max
        return AfterCommit(ends, deadline_ms, finish, served, outlives=True)


def carry_out(
    broker: Broker,
    request: Request,
    response: R,
    changes: Iterable[Change],
    *,
    validate_only: bool,
    wait_ms_max: int,
) -> R | AfterCommit:
    """Propose what can be planned; with validate_only, only say whether it could be.

    The results must already stand in the response.
    """
    proposals = Proposals(broker, request.now)
    for result, shard_index, plan_change in changes:
        try:
            plan = plan_change()
            if plan is None:
                continue  # It is carried out already, and rests on nothing.
            if not validate_only:
                proposals.add(plan)
        except KafkaError as error:
            refuse(result, error)
        proposals.rest(shard_index, functools.partial(refuse, result))
    return proposals.answer(response, wait_ms_max)
