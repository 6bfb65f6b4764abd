"""EndTxn: commit or abort. Version 5 answers with the next producer epoch (KIP-890)."""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message
from mesh.wire.types import Bool, Int16, Int32, Int64, since


class EndTxnRequest(Message, api_key=26, versions=(0, 5), flexible_from=3):
    transactional_id: str = ""
    producer_id: Int64 = 0
    producer_epoch: Int16 = 0
    committed: Bool = False


class EndTxnResponse(Message, api_key=26, versions=(0, 5), flexible_from=3):
    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    producer_id: Annotated[Int64, since(5)] = -1
    producer_epoch: Annotated[Int16, since(5)] = -1
