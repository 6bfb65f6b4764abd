"""A request that changes several things: each is planned by itself, and answered for itself.

What was refused changes nothing and does not hinder the others; the response leaves once all that
was proposed is committed, or at its deadline.
"""

from __future__ import annotations

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
    waits: list[tuple[Partition, Offset]] = []
    pending: list[tuple[Result, tuple[Partition, Offset]]] = []
    for result, plan_change in changes:
        try:
            plan, wait = plan_change(), None
            if plan is not None and plan.records and not validate_only:
                wait = broker.propose(plan, request.now)
        except KafkaError as error:
            result.error_code, result.error_message = error.code, error.message
            continue
        if wait is not None:
            waits.append(wait)
            pending.append((result, wait))
    if not waits:
        return response

    def finish(committed: bool, now: Now) -> R:
        for result, (shard, end_offset) in pending:
            if not committed and shard.high_watermark < end_offset:
                result.error_code = ErrorCode.REQUEST_TIMED_OUT
                result.error_message = "The request timed out."
        return response

    return AfterCommit(waits, request.now.monotonic_ms + wait_ms_max, finish)
