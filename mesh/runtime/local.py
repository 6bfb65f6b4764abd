"""Paths of Unix sockets: the kernel takes 107 bytes of one, and data directories may be deeper."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

PATH_BYTES_MAX = 107
"""sun_path of unix(7) has 108 bytes with the zero at its end."""


@contextlib.contextmanager
def reachable(path: str) -> Iterator[str]:
    """Give a path of the same socket that is short enough to bind or connect to.

    A long one goes through a descriptor of its directory, where the system has /proc.

    Raises:
        OSError: the directory cannot be opened, or the name alone is too long.
    """
    if len(os.fsencode(path)) <= PATH_BYTES_MAX:
        yield path
        return
    directory, name = os.path.split(path)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
