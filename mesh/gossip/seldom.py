"""What people, or a peer, are told once in a while, however often it happens."""

from __future__ import annotations

from typing import Generic, TypeVar

Key = TypeVar("Key")


class Seldom(Generic[Key]):
    """Lets each of so many keys pass once in an interval. Of more the oldest are forgotten."""

    def __init__(self, interval_ms: int, keys_max: int) -> None:
        """Nothing has passed yet."""
        self._interval_ms = interval_ms
        self._keys_max = keys_max
        self._passed_ms: dict[Key, int] = {}

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._passed_ms)

    def may(self, key: Key, now_ms: int) -> bool:
        """Whether a key did not pass just now; then it does."""
        last_ms = self._passed_ms.get(key)
        if last_ms is not None and now_ms - last_ms < self._interval_ms:
            return False
        while len(self._passed_ms) >= self._keys_max:
            del self._passed_ms[next(iter(self._passed_ms))]
        self._passed_ms.pop(key, None)
        self._passed_ms[key] = now_ms
        return True
