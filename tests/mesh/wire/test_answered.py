"""Error codes in responses: every place of every declaration is found."""

from __future__ import annotations

import typing

import pytest

from mesh.wire import API_NAMES, Message, Struct, error_codes, response_class
from mesh.wire.fields import fields_of
from mesh.wire.schemas.metadata import MetadataResponse, MetadataResponseTopic


def _filled(kind: type[Struct], code: int) -> tuple[Struct, int]:
    """A structure with one of everything inside, each error code set; and how many there are."""
    made, count = kind(), 0
    for field in fields_of(kind):
        if field.name == "error_code":
            setattr(made, field.name, code)
            count += 1
        elif isinstance(field.kind, type) and issubclass(field.kind, Struct):
            inner, inside = _filled(field.kind, code)
            setattr(made, field.name, [inner, inner] if field.is_array else inner)
            count += inside * (2 if field.is_array else 1)
    return made, count


@pytest.mark.parametrize("api_key", API_NAMES)
def test_every_error_code_of_a_response_is_found(api_key: int) -> None:
    """With one code in each place of a declaration, all of them come back."""
    filled, count = _filled(response_class(api_key), 42)
    found = error_codes(typing.cast("Message", filled))
    assert found == [42] * count


@pytest.mark.parametrize("api_key", API_NAMES)
def test_a_response_without_errors_has_none(api_key: int) -> None:
    """The declared defaults hold no error."""
    assert error_codes(response_class(api_key)()) == []


def test_missing_arrays_are_passed_over() -> None:
    """A nullable array that is None is no fault."""
    response = MetadataResponse(topics=[MetadataResponseTopic(error_code=3, name=None)])
    response.brokers = None  # type: ignore[assignment]
    assert error_codes(response) == [3]
