"""ApiVersions: the fall-back that 4.4 clients lean on, and what is served at all."""

from __future__ import annotations

import struct

from mesh.wire.schemas.api_versions import ApiVersionsRequest
from tests.interop.differential.cases import case, differs, surprise
from tests.interop.differential.talk import Talk


def header(key: int, version: int, *, flexible: bool = False) -> bytes:
    """Return a request header with correlation id 7 and client id `x`."""
    return struct.pack("!hhih", key, version, 7, 1) + b"x" + (b"\0" if flexible else b"")


@case(ApiVersionsRequest)
def versions_served(talk: Talk) -> None:
    """Which APIs are served, and which versions of them"""
    talk.ask(ApiVersionsRequest(client_software_name="test", client_software_version="1.0"))


@case(ApiVersionsRequest, versions=(3, 4))
def versions_software_names(talk: Talk) -> None:
    """The client's name and version must look like names"""
    for name, version in (("", "1"), ("a", ""), ("a b", "1"), ("-a", "1"), ("a", "1-"), ("é", "1")):
        request = ApiVersionsRequest(client_software_name=name, client_software_version=version)
        talk.ask(request, label=f"{name!r} {version!r}")
    request = ApiVersionsRequest(client_software_name="a.b-1", client_software_version="1.0-x")
    talk.ask(request, label="right")


@case(ApiVersionsRequest, versions=(0, 0))
def versions_unknown(talk: Talk) -> None:
    """An unknown version is answered in version 0, with error 35 and exactly our own range"""
    for version in (5, 99, 32767, -1):
        talk.ask_bytes(header(18, version, flexible=True) + b"\x02a\x021\0")
    talk.ask_bytes(header(18, 99))
    talk.ask(ApiVersionsRequest(), label="and the connection lives")


@case(ApiVersionsRequest, versions=(0, 0))
def versions_of_others(talk: Talk) -> None:
    """An unknown API, or an unknown version of a known one, closes the connection"""
    for key, version in ((999, 0), (-1, 0), (0, 0), (0, 2), (0, 14), (1, 3), (1, 19), (3, 14)):
        talk.ask_bytes(header(key, version, flexible=key == 3))


@case(ApiVersionsRequest, versions=(0, 0))
def versions_mangled(talk: Talk) -> None:
    """Bodies that end early, and bytes after the end"""
    talk.ask_bytes(header(18, 0) + b"more", answer_version=0)
    talk.ask_bytes(header(18, 3, flexible=True), answer_version=0)
    talk.ask_bytes(header(18, 3, flexible=True) + b"\x02a", answer_version=0)
    talk.ask_bytes(header(3, 1)[:-1])
    talk.ask_bytes(header(3, 1) + b"\0\0\0\1")
    talk.ask_bytes(header(3, 1) + b"\x7f\xff\xff\xff")
    talk.ask_bytes(b"")
    talk.ask_bytes(b"\0\x12\0")


NOT_SERVED = {
    "Transactions: not served so far": (*range(24, 29), 65, 66),
    "Security and quotas: not served so far": (17, 29, 30, 31, 36, *range(48, 52)),
    "Delegation tokens: not served": tuple(range(38, 42)),
    "Share groups and streams groups: not served": (*range(76, 80), *range(83, 93)),
}
for why, keys in NOT_SERVED.items():
    for key in keys:
        differs(
            ApiVersionsRequest,
            f"api_keys/{key}",
            kafka="present",
            ours="absent",
            reason=why,
        )
for field in ("supported_features/*", "finalized_features/*"):
    differs(
        ApiVersionsRequest,
        field,
        kafka="present",
        ours="absent",
        reason="Kafka's features stand for what its metadata log can do; of our "
        "APIs the versions say it",
        versions=(3, 4),
    )
    differs(
        ApiVersionsRequest,
        field.replace("*", "gossamer.format"),
        kafka="absent",
        ours="present",
        reason="The formats, on disk and between nodes, that the mesh agreed on",
        versions=(3, 4),
    )

surprise(
    ApiVersionsRequest,
    """Bytes after the end of a body are ignored.""",
)
surprise(
    ApiVersionsRequest,
    """An unknown version is answered in version 0 whatever the body holds, but not without
    one: the request header of the unknown version is taken to be flexible, and where its
    tag byte is missing the connection closes.""",
)
