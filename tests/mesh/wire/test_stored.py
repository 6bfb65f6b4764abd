"""Stored records that cannot be held against kio: Kafka's bytes for them, written down."""

from __future__ import annotations

import pytest

from mesh.wire import decode_stored, encode_stored
from mesh.wire.stored.groups import (
    ClassicMemberMetadata,
    ClassicProtocol,
    ConsumerGroupMemberMetadataValue,
)

# Version, no instance, no rack, empty client id and host, no topics, no pattern, time-out, no
# assignor.
HEAD = "0000000001010100ffffffff00"


@pytest.mark.parametrize(
    ("classic", "tags"),
    [
        pytest.param(None, "01000100", id="null is said"),
        pytest.param(
            ClassicMemberMetadata(session_timeout_ms=9), "01000701000000090100", id="empty"
        ),
        pytest.param(
            ClassicMemberMetadata(
                session_timeout_ms=9,
                supported_protocols=[ClassicProtocol(name="range", metadata=b"m")],
            ),
            "0100100100000009020672616e6765026d0000",
            id="present",
        ),
    ],
)
def test_a_member_of_a_new_group_says_whether_it_is_a_classic_one(
    classic: ClassicMemberMetadata | None, tags: str
) -> None:
    """Kafka's default is an empty structure, so None has to be said, or it reads a classic one."""
    value = ConsumerGroupMemberMetadataValue(classic_member_metadata=classic)
    written = bytes.fromhex(HEAD + tags)
    assert encode_stored(value, 0) == written
    assert decode_stored(ConsumerGroupMemberMetadataValue, written) == value


def test_what_an_older_node_left_out_is_none() -> None:
    """Records without the tag are of members that use the new protocol."""
    written = bytes.fromhex(HEAD + "00")
    value = decode_stored(ConsumerGroupMemberMetadataValue, written)
    assert value.classic_member_metadata is None
