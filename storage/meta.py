"""`meta.toml`: what a data directory is, for whom, and who wrote it."""

import tomllib
from dataclasses import dataclass
from uuid import UUID

from storage.disk import Disk, Missing
from storage.errors import BadMeta, NewerFormat

FILE_NAME = "meta.toml"
FORMAT = 2
"""Raised when an older release would misread what a newer one writes. 1 had no promise journal."""

NODE_ID_MAX = (1 << 31) - 1

_COMMENT = "# Identity of this data directory. Do not copy it to another node; do not edit it."


@dataclass(frozen=True, slots=True)
class Meta:
    """Identity of one data directory."""

    cluster_id: UUID
    """Made once, by the node that founded the cluster."""
    directory_id: UUID
    """Made once, with the directory: a wiped node is another replica."""
    node_id: int
    """1 to 2**31 - 1."""
    version: str
    """Release that wrote the file, for people."""
    format: int = FORMAT


def read_meta(disk: Disk, data_directory: str) -> Meta | None:
    """Return what the directory says of itself, None if it is not yet anybody's.

    Raises:
        NewerFormat: a later release wrote it; nothing else of the file was looked at.
        BadMeta: it is damaged; says how.
        DiskError: it cannot be read.
    """
    path = f"{data_directory}/{FILE_NAME}"
    try:
        table = tomllib.loads(disk.read_file(path).decode("utf-8"))
    except Missing:
        return None
    except UnicodeDecodeError:
        raise BadMeta(f"{path} is damaged: it is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise BadMeta(f"{path} is damaged: it is not TOML: {error}") from None
    number = _integer(path, table, "format", least=1)
    if number > FORMAT:
        raise NewerFormat(
            f"{path} has format {number}, this release knows {FORMAT}: "
            "a later release wrote this directory; use that one"
        )
    return Meta(
        cluster_id=_uuid(path, table, "cluster_id"),
        directory_id=_uuid(path, table, "directory_id"),
        node_id=_integer(path, table, "node_id", least=1, most=NODE_ID_MAX),
        version=_text(path, table, "version"),
        format=number,
    )


def write_meta(disk: Disk, data_directory: str, meta: Meta) -> None:
    """Replace the file, atomically and durably. Raises DiskError."""
    lines = [
        _COMMENT,
        f"format = {meta.format}",
        f'cluster_id = "{meta.cluster_id}"',
        f'directory_id = "{meta.directory_id}"',
        f"node_id = {meta.node_id}",
        f'version = "{meta.version}"',
    ]
    text = "".join(f"{line}\n" for line in lines)
    disk.write_atomically(f"{data_directory}/{FILE_NAME}", text.encode())


def _value(path: str, table: dict[str, object], name: str) -> object:
    if name not in table:
        raise BadMeta(f"{path} is damaged: {name} is missing")
    return table[name]


def _text(path: str, table: dict[str, object], name: str) -> str:
    value = _value(path, table, name)
    if not isinstance(value, str):
        raise BadMeta(f"{path} is damaged: {name} is not a text")
    return value


def _integer(
    path: str, table: dict[str, object], name: str, *, least: int, most: int | None = None
) -> int:
    value = _value(path, table, name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadMeta(f"{path} is damaged: {name} is not a whole number")
    if value < least or (most is not None and value > most):
        raise BadMeta(f"{path} is damaged: {name} is {value}")
    return value


def _uuid(path: str, table: dict[str, object], name: str) -> UUID:
    try:
        return UUID(_text(path, table, name))
    except ValueError:
        raise BadMeta(f"{path} is damaged: {name} is not a UUID") from None
