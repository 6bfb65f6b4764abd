"""Which APIs are declared, and where: loaded when first asked for."""

from functools import cache
from importlib import import_module
from typing import Final, cast

from mesh.wire.message import Message
from mesh.wire.types import WireError

API_NAMES: Final[dict[int, str]] = {
    0: "Produce",
    1: "Fetch",
    2: "ListOffsets",
    3: "Metadata",
    8: "OffsetCommit",
    9: "OffsetFetch",
    10: "FindCoordinator",
    11: "JoinGroup",
    12: "Heartbeat",
    13: "LeaveGroup",
    14: "SyncGroup",
    15: "DescribeGroups",
    16: "ListGroups",
    17: "SaslHandshake",
    18: "ApiVersions",
    19: "CreateTopics",
    20: "DeleteTopics",
    21: "DeleteRecords",
    22: "InitProducerId",
    23: "OffsetForLeaderEpoch",
    24: "AddPartitionsToTxn",
    25: "AddOffsetsToTxn",
    26: "EndTxn",
    27: "WriteTxnMarkers",
    28: "TxnOffsetCommit",
    29: "DescribeAcls",
    30: "CreateAcls",
    31: "DeleteAcls",
    32: "DescribeConfigs",
    33: "AlterConfigs",
    34: "AlterReplicaLogDirs",
    35: "DescribeLogDirs",
    36: "SaslAuthenticate",
    37: "CreatePartitions",
    38: "CreateDelegationToken",
    39: "RenewDelegationToken",
    40: "ExpireDelegationToken",
    41: "DescribeDelegationToken",
    42: "DeleteGroups",
    43: "ElectLeaders",
    44: "IncrementalAlterConfigs",
    45: "AlterPartitionReassignments",
    46: "ListPartitionReassignments",
    47: "OffsetDelete",
    48: "DescribeClientQuotas",
    49: "AlterClientQuotas",
    50: "DescribeUserScramCredentials",
    51: "AlterUserScramCredentials",
    55: "DescribeQuorum",
    57: "UpdateFeatures",
    60: "DescribeCluster",
    61: "DescribeProducers",
    64: "UnregisterBroker",
    65: "DescribeTransactions",
    66: "ListTransactions",
    68: "ConsumerGroupHeartbeat",
    69: "ConsumerGroupDescribe",
    74: "ListConfigResources",
    75: "DescribeTopicPartitions",
    80: "AddRaftVoter",
    81: "RemoveRaftVoter",
}
"""Name of every declared API by its key; `schemas/` has one module for each."""


def schema_module(api_key: int) -> str:
    """Return the module that declares an API: DescribeConfigs is in describe_configs."""
    name = API_NAMES[api_key]
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return f"mesh.wire.schemas.{words[1:]}"


def request_class(api_key: int) -> type[Message]:
    """Return the declaration of a request.

    Raises:
        WireError: no such API is declared.
    """
    return _declared(api_key, "Request")


def response_class(api_key: int) -> type[Message]:
    """Return the declaration of a response.

    Raises:
        WireError: no such API is declared.
    """
    return _declared(api_key, "Response")


@cache
def _declared(api_key: int, side: str) -> type[Message]:
    if api_key not in API_NAMES:
        raise WireError(f"API key {api_key} is not declared")
    module = import_module(schema_module(api_key))
    return cast(type[Message], getattr(module, API_NAMES[api_key] + side))
