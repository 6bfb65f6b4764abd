"""The file of a cluster's keys: the first one seals, all of them open, so that keys can be changed.

One key a line, 32 bytes in base64; `#` begins a comment. Only its owner may read the file.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Sequence

from mesh.runtime.sealing import KEY_BYTES

KEYS_MAX = 8
FILE_BYTES_MAX = 16 << 10
_COMMENT = "# Cluster keys of a mesh: the first one seals, all of them open. Keep them secret.\n"


class RingError(Exception):
    """The file gives no keys; the text says why, and names it."""


def read_ring(path: str) -> tuple[bytes, ...]:
    """Return the keys of a file, the one that seals first.

    Raises:
        RingError: it cannot be read, others may read it, or a line of it is no key.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise RingError(f"the cluster key file {path} cannot be read: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise RingError(f"the cluster key file {path} is no plain file")
    with open(descriptor, "rb") as file:
        if status.st_mode & 0o077:
            raise RingError(f"others may read the cluster key file {path}: see `chmod 600`")
        data = file.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise RingError(f"the cluster key file {path} is longer than {FILE_BYTES_MAX} bytes")
    return _parse(path, data)


def _parse(path: str, data: bytes) -> tuple[bytes, ...]:
    keys: list[bytes] = []
    for number, line in enumerate(data.splitlines(), 1):
        text = line.partition(b"#")[0].strip()
        if not text:
            continue
        try:
            key = base64.b64decode(text, validate=True)
        except binascii.Error:
            key = b""
        if len(key) != KEY_BYTES:
            # What stands there is not told: it may be most of a key.
            raise RingError(
                f"line {number} of the cluster key file {path} is no key: one is {KEY_BYTES} "
                "bytes in base64, as `mesh key new` makes them"
            )
        if key in keys:
            raise RingError(f"line {number} of the cluster key file {path} repeats a key")
        keys.append(key)
    if not 0 < len(keys) <= KEYS_MAX:
        raise RingError(
            f"the cluster key file {path} holds {len(keys)} keys; a ring has 1 to {KEYS_MAX}"
        )
    return tuple(keys)


def write_ring(path: str, keys: Sequence[bytes], *, is_new: bool) -> None:
    """Write a file that only its owner may read, atomically.

    Args:
        path: where.
        keys: 1 to KEYS_MAX, the one that seals first.
        is_new: whether there must be no file yet.

    Raises:
        RingError: it cannot be written, or there is one.
    """
    text = _COMMENT + "".join(f"{base64.b64encode(key).decode()}\n" for key in keys)
    target = path if is_new else f"{path}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if is_new else os.O_TRUNC)
    try:
        with open(os.open(target, flags, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if not is_new:
            os.replace(target, path)
    except FileExistsError:
        raise RingError(f"there is a file {path} already, and it is kept") from None
    except OSError as error:
        raise RingError(f"the cluster key file {path} cannot be written: {error}") from error
