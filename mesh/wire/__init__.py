"""Kafka's wire protocol: declarations, and the codec compiled from them.

Declarations are in `mesh.wire.schemas.<api>`; everything else that others use is here.
"""

from mesh.wire.answered import error_codes
from mesh.wire.catalogue import API_NAMES, request_class, response_class
from mesh.wire.frames import (
    RequestHeader,
    decode,
    decode_stored,
    encode_request,
    encode_response,
    encode_stored,
    read_request_header,
    read_response,
)
from mesh.wire.message import Message, Struct
from mesh.wire.types import EMPTY_RECORDS, NO_UUID, Part, Parts, WireError
from storage.types import Buffer

__all__ = [
    "API_NAMES",
    "EMPTY_RECORDS",
    "NO_UUID",
    "Buffer",
    "Message",
    "Part",
    "Parts",
    "RequestHeader",
    "Struct",
    "WireError",
    "decode",
    "decode_stored",
    "encode_request",
    "encode_response",
    "encode_stored",
    "error_codes",
    "read_request_header",
    "read_response",
    "request_class",
    "response_class",
]
