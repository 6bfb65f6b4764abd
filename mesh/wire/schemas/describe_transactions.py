"""DescribeTransactions: state, timeout and partitions of transactional ids (KIP-664)."""

from __future__ import annotations

from mesh.wire.message import Message, Struct
from mesh.wire.types import Int16, Int32, Int64


class DescribeTransactionsRequest(Message, api_key=65, versions=(0, 0), flexible_from=0):
    transactional_ids: list[str] = []


class DescribeTransactionsResponse(Message, api_key=65, versions=(0, 0), flexible_from=0):
    throttle_time_ms: Int32 = 0
    transaction_states: list[TransactionState] = []


class TransactionState(Struct):
    error_code: Int16 = 0
    transactional_id: str = ""
    transaction_state: str = ""
    transaction_timeout_ms: Int32 = 0
    transaction_start_time_ms: Int64 = 0
    producer_id: Int64 = 0
    producer_epoch: Int16 = 0
    topics: list[TopicData] = []


class TopicData(Struct):
    topic: str = ""
    partitions: list[Int32] = []
