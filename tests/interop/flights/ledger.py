"""What a broker acknowledged, and the comparison of that with what a client read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tests.interop.flights.rows import Row


class Record(NamedTuple):
    """One record as a client hands it out."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class DifferenceError(Exception):
    """What was read is not what was acknowledged; the text names the first place."""


class Ledger:
    """Which row a broker acknowledged at which offset of one topic."""

    def __init__(self, topic: str, partition_count: int, rows: Sequence[Row]) -> None:
        """Begin with nothing acknowledged."""
        self.topic = topic
        self.rows = rows
        self.acknowledged_count = 0
        self._row_at: list[dict[int, int]] = [{} for _ in range(partition_count)]

    def acknowledge(self, row_index: int, partition: int, offset: int) -> None:
        """Note one acknowledgement.

        Raises:
            DifferenceError: the offset is already another row's, or the broker named none.
        """
        row_at = self._row_at[partition]
        if offset < 0 or offset in row_at:
            raise DifferenceError(
                f"{self.topic}-{partition}: row {row_index} acknowledged at offset {offset},"
                f" which {'is no offset' if offset < 0 else f'is row {row_at[offset]}'}"
            )
        row_at[offset] = row_index
        self.acknowledged_count += 1

    def ends(self) -> list[int]:
        """Return each partition's exclusive end offset: one past the last acknowledged row."""
        return [max(row_at, default=-1) + 1 for row_at in self._row_at]

    def check(self) -> None:
        """Check the acknowledgements by themselves, before anybody reads.

        Raises:
            DifferenceError: a row without acknowledgement, a hole between offsets, a key on two
                partitions, or a later row of a key below an earlier one.
        """
        if self.acknowledged_count != len(self.rows):
            raise DifferenceError(
                f"{self.topic}: {self.acknowledged_count} of {len(self.rows)} rows"
            )
        last_of_key: dict[bytes, tuple[int, int]] = {}
        for partition, row_at in enumerate(self._row_at):
            if sorted(row_at) != list(range(len(row_at))):
                raise DifferenceError(
                    f"{self.topic}-{partition}: holes between acknowledged offsets"
                )
            for offset in range(len(row_at)):
                key = self.rows[row_at[offset]].key
                if key is None:
                    continue
                here = (partition, row_at[offset])
                before = last_of_key.get(key, (partition, -1))
                if before[0] != partition or before[1] >= row_at[offset]:
                    raise DifferenceError(
                        f"{self.topic}: key {key!r}: {before} is followed by {here}"
                    )
                last_of_key[key] = here

    def expected(self, partition: int, offset: int) -> Record | None:
        """Return the record that belongs there, or None beyond the end."""
        row_index = self._row_at[partition].get(offset)
        if row_index is None:
            return None
        row = self.rows[row_index]
        return Record(self.topic, partition, offset, row.key, row.value)


def compare(ledgers: Mapping[str, Ledger], records: Iterable[Record]) -> int:
    """Compare every byte of every record, in order, with the ledgers; return the records' count.

    Partitions may come interleaved; within each, offsets must count up from 0 to its end.

    Raises:
        DifferenceError: at the first record that is not the expected one, or if some are missing.
    """
    next_offset = {
        (topic, partition): 0
        for topic, ledger in ledgers.items()
        for partition in range(len(ledger.ends()))
    }
    record_count = 0
    for record in records:
        place = (record.topic, record.partition)
        if place not in next_offset:
            raise DifferenceError(f"a record of {place}, which nobody produced to")
        expected = ledgers[record.topic].expected(record.partition, next_offset[place])
        if record != expected:
            raise DifferenceError(f"expected {expected}\n     got {record}")
        next_offset[place] += 1
        record_count += 1
    for (topic, partition), offset in next_offset.items():
        end = ledgers[topic].ends()[partition]
        if offset != end:
            raise DifferenceError(f"{topic}-{partition} ends at {offset}, {end} were acknowledged")
    return record_count
