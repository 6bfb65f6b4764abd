"""InitProducerId: a producer id and epoch, for idempotence or for a transactional id.

Version 6 (KIP-939, two-phase commit) is unstable in Kafka 4.3 and not declared.
"""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message
from mesh.wire.types import Int16, Int32, Int64, since


class InitProducerIdRequest(Message, api_key=22, versions=(0, 5), flexible_from=2):
    transactional_id: str | None = ""
    transaction_timeout_ms: Int32 = 0
    producer_id: Annotated[Int64, since(3)] = -1
    producer_epoch: Annotated[Int16, since(3)] = -1


class InitProducerIdResponse(Message, api_key=22, versions=(0, 5), flexible_from=2):
    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    producer_id: Int64 = -1
    producer_epoch: Int16 = 0
