"""`mesh key`: makes the file of a mesh's keys, and changes them one step at a time."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import click

from tools.errors import CommandError, Exit
from tools.stop import command, data_option
from tools.view import printable

_FILE = click.argument("path", metavar="FILE")


@click.group(
    epilog="""\b
Examples:
  mesh key new cluster.key
  mesh node --cluster-key-file cluster.key

\b
To change the key of a mesh that runs, take each step on all machines before the next one:
  1. `mesh key add cluster.key` on one of them, and copy the file to the others
  2. `mesh key use cluster.key ID` on each of them, with the id of the new key
  3. `mesh key drop cluster.key` on each of them
After every step, `mesh key reload --data DIR` has a node read its file again.
"""
)
def key() -> None:
    """Make and change cluster keys: with one, all that members say is sealed."""


@key.command(epilog="\b\nExamples:\n  mesh key new cluster.key\n")
@_FILE
def new(path: str) -> None:
    """Make a file with a new key, for all members to have a copy of."""
    _write(path, [_key()], is_new=True)


@key.command(epilog="\b\nExamples:\n  mesh key add cluster.key\n")
@_FILE
def add(path: str) -> None:
    """Add a new key: it opens, and does not seal yet."""
    _write(path, [*_read(path), _key()], is_new=False)


@key.command(epilog="\b\nExamples:\n  mesh key use cluster.key 5d41402a\n")
@_FILE
@click.argument("key_id", metavar="ID")
def use(path: str, key_id: str) -> None:
    """Let one of the keys seal; the others still open."""
    from mesh.runtime.sealing import key_id as id_of

    keys = _read(path)
    chosen = [one for one in keys if id_of(one).hex() == key_id.lower()]
    if not chosen:
        raise CommandError(
            f"{path} holds no key {key_id}",
            status=Exit.USAGE,
            kept="nothing was changed",
            do=f"`mesh key list {path}` tells which ones there are",
        )
    _write(path, chosen + [one for one in keys if one not in chosen], is_new=False)


@key.command(epilog="\b\nExamples:\n  mesh key drop cluster.key\n")
@_FILE
def drop(path: str) -> None:
    """Remove all keys but the one that seals."""
    _write(path, _read(path)[:1], is_new=False)


@key.command(name="list", epilog="\b\nExamples:\n  mesh key list cluster.key\n")
@_FILE
def list_keys(path: str) -> None:
    """Tell the names of the keys in a file; a name tells nothing of its key."""
    _tell(_read(path))


@key.command(epilog="\b\nExamples:\n  mesh key reload --data ./mesh-data\n")
@data_option
def reload(*, data: str) -> None:
    """Have the node of a data directory read its cluster key file again."""
    _tell_names(command(data, "reload_keys").get("keys"))


def _key() -> bytes:
    from mesh.runtime.sealing import KEY_BYTES

    return secrets.token_bytes(KEY_BYTES)


def _read(path: str) -> list[bytes]:
    from mesh.runtime.ring import RingError, read_ring

    try:
        return list(read_ring(path))
    except RingError as error:
        raise CommandError(str(error), status=Exit.USAGE) from error


def _write(path: str, keys: Sequence[bytes], *, is_new: bool) -> None:
    from mesh.runtime.ring import KEYS_MAX, RingError, write_ring

    if len(keys) > KEYS_MAX:
        raise CommandError(
            f"the cluster key file {path} holds {KEYS_MAX} keys, and no more fit",
            status=Exit.USAGE,
            kept="nothing was changed",
            do=f"remove those that no member seals with: `mesh key drop {path}`",
        )
    try:
        write_ring(path, keys, is_new=is_new)
    except RingError as error:
        raise CommandError(str(error), status=Exit.USAGE, kept="nothing was changed") from error
    _tell(keys)


def _tell(keys: Sequence[bytes]) -> None:
    from mesh.runtime.sealing import key_id

    _tell_names([key_id(one).hex() for one in keys])


def _tell_names(names: object) -> None:
    if not isinstance(names, list):
        raise CommandError("the node did not tell its keys", status=Exit.REFUSED)
    for number, name in enumerate(names):
        click.echo(f"{printable(str(name))}  {'opens' if number else 'seals, and opens'}")
