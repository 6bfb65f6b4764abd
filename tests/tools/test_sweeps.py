"""Many seeds side by side: what a seed raises is not lost on its way from its process."""

from __future__ import annotations

from typing import NoReturn

import pytest

from storage import JournalDamaged
from tools.sweeps import play_all


def _raise(seed: int) -> NoReturn:
    raise JournalDamaged("/data/promises.journal", seed, "by this test")


def test_what_a_seed_raises_is_said_with_its_number() -> None:
    """An error that cannot be sent between processes ends the sweep all the same as itself."""
    with pytest.raises(RuntimeError, match=r"seed 7:\n[^$]*JournalDamaged: .*\(byte 7\)"):
        list(play_all(_raise, range(7, 8), jobs=1))
