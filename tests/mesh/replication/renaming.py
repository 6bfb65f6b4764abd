"""The same thing with its replicas called by other names."""

from __future__ import annotations

import io
import pickle
from typing import Any, TypeVar

from mesh.replication.state import Config, Replica

T = TypeVar("T")


class _Pickler(pickle.Pickler):
    """Writes replicas as references, so that reading may put others in their places."""

    def persistent_id(self, obj: object) -> Any:
        if type(obj) is Replica:
            return ("replica", tuple(obj))
        if type(obj) is Config:
            voters = tuple(tuple(voter) for voter in obj.voters)
            return ("config", obj.config_epoch, obj.config_version, voters)
        return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, names: dict[Replica, Replica]) -> None:
        super().__init__(io.BytesIO(data))
        self.names = names

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "replica":
            return self._named(pid[1])
        # Voters are a set to the machine, but for waiting times: they stay sorted.
        return Config(pid[1], pid[2], tuple(sorted(self._named(voter) for voter in pid[3])))

    def _named(self, fields: tuple[int, str]) -> Replica:
        before = Replica(*fields)
        return self.names.get(before, before)


def renamed(thing: T, names: dict[Replica, Replica]) -> T:
    """Return a deep copy of `thing` in which every replica has the name that `names` gives it."""
    buffer = io.BytesIO()
    _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(thing)
    copy: T = _Unpickler(buffer.getvalue(), names).load()
    return copy
