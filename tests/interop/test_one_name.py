"""The check of one name: it accepts what one order explains, and finds what none does."""

from __future__ import annotations

import pytest

from tests.interop.one_name import Kind, Told, fits_one_order

A, B = b"a" * 16, b"b" * 16


@pytest.mark.parametrize(
    "clients",
    [
        [],
        [[Told(Kind.ABSENT, 0, 1), Told(Kind.CREATED, 2, 3, A), Told(Kind.SEEN, 4, 5, A)]],
        # The one who is refused may have been asked first, while the other's call is under way.
        [[Told(Kind.CREATED, 1, 9, A)], [Told(Kind.EXISTS, 0, 8)]],
        # Three lives of which two were granted at once.
        [
            [Told(Kind.CREATED, 0, 9, A), Told(Kind.DELETED, 10, 11, B)],
            [Told(Kind.CREATED, 0, 9, B)],
            [Told(Kind.DELETED, 0, 9, A)],
        ],
        # Who looks while it changes may see either.
        [[Told(Kind.CREATED, 0, 9, A)], [Told(Kind.ABSENT, 1, 2), Told(Kind.SEEN, 3, 4, A)]],
    ],
)
def test_what_one_order_explains_is_accepted(clients: list[list[Told]]) -> None:
    """Calls under way at the same time may have happened in any order."""
    assert fits_one_order(clients)


@pytest.mark.parametrize(
    "clients",
    [
        # Nobody made it.
        [[Told(Kind.EXISTS, 0, 1)]],
        # Two were granted, and none was deleted.
        [[Told(Kind.CREATED, 0, 9, A)], [Told(Kind.CREATED, 0, 9, B)]],
        # Absent after it was made.
        [[Told(Kind.CREATED, 0, 1, A)], [Told(Kind.ABSENT, 2, 3)]],
        # Seen after it was deleted.
        [[Told(Kind.CREATED, 0, 1, A), Told(Kind.DELETED, 2, 3, A)], [Told(Kind.SEEN, 4, 5, A)]],
        # Deleted twice.
        [
            [Told(Kind.CREATED, 0, 1, A), Told(Kind.DELETED, 2, 3, A)],
            [Told(Kind.DELETED, 2, 3, A)],
        ],
        # Told that it exists before it was certain, and absent afterwards.
        [[Told(Kind.CREATED, 0, 9, A)], [Told(Kind.EXISTS, 1, 2), Told(Kind.ABSENT, 3, 4)]],
        # The older one seen after the newer one.
        [
            [
                Told(Kind.CREATED, 0, 1, A),
                Told(Kind.DELETED, 2, 3, A),
                Told(Kind.CREATED, 4, 5, B),
            ],
            [Told(Kind.SEEN, 4, 5, B), Told(Kind.SEEN, 6, 7, A)],
        ],
    ],
)
def test_what_no_order_explains_is_found(clients: list[list[Told]]) -> None:
    """One history for each way in which a registry could lie."""
    assert not fits_one_order(clients)
