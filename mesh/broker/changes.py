"""A request that changes several things: each is planned by itself, and answered for itself.

What was refused changes nothing and does not hinder the others; the response leaves once all that
was proposed is committed, or at its deadline.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
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
    from storage.types import Offset

R = TypeVar("R", bound=Message)


class Result(Protocol):
    """What a response says of one thing."""

    error_code: int
    error_message: str | None


Change: TypeAlias = tuple[Result, Callable[[], Plan | None]]
"""Where to answer, and how to plan; None: nothing is to be agreed on. It may raise KafkaError."""


def refuse(result: Result, error: KafkaError) -> None:
    """Answer with an error."""
    result.error_code, result.error_message = error.code, error.message


class Proposals:
    """What one request has proposed, and whom to tell of what is not committed in time."""

    def __init__(self, broker: Broker, now: Now) -> None:
        """None so far."""
        self._broker = broker
        self._now = now
        self._ends: dict[Partition, Offset] = {}
        self._pending: list[tuple[Partition, Offset, Callable[[KafkaError], None]]] = []

    def add(self, plan: Plan, late: Callable[[KafkaError], None]) -> None:
        """Propose a plan that was checked just now, so that it applies once it is committed.

        Args:
            plan: has records.
            late: takes the error that the deadline gives what is not committed by then.

        Raises:
            KafkaError: the disk does not take it.
        """
        shard, end_offset = self._broker.propose(plan, self._now)
        self._ends[shard] = end_offset
        self._pending.append((shard, end_offset, late))

    def answer(self, response: R, wait_ms_max: int) -> R | AfterCommit:
        """Return the response, or what makes it once all is committed or the time is up."""
        if not self._pending:
            return response
        registry = self._broker.registry

        def finish(committed: bool, now: Now) -> R:
            # What is committed was granted. What has become of it since is another matter: a
            # topic may have been deleted, and made anew, in the same round.
            late = KafkaError(ErrorCode.REQUEST_TIMED_OUT, "The request timed out.")
            for shard, end_offset, tell in self._pending:
                if not committed and registry.replayed_ends[shard.index] < end_offset:
                    tell(late)
            return response

        return AfterCommit(list(self._ends.items()), self._now.monotonic_ms + wait_ms_max, finish)


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
    for result, plan_change in changes:
        try:
            plan = plan_change()
            if plan is not None and plan.records and not validate_only:
                proposals.add(plan, functools.partial(refuse, result))
        except KafkaError as error:
            refuse(result, error)
    return proposals.answer(response, wait_ms_max)
