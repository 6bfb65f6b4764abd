"""AddOffsetsToTxn: take a group's positions into a transaction."""

from __future__ import annotations

from mesh.wire.message import Message
from mesh.wire.types import Int16, Int32, Int64


class AddOffsetsToTxnRequest(Message, api_key=25, versions=(0, 4), flexible_from=3):
    transactional_id: str = ""
    producer_id: Int64 = 0
    producer_epoch: Int16 = 0
    group_id: str = ""


class AddOffsetsToTxnResponse(Message, api_key=25, versions=(0, 4), flexible_from=3):
    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
