"""A shard of the registry: its records with their fields, and the image that they leave."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from uuid import UUID

from mesh.model.errors import KafkaError
from mesh.model.types import ReplicaId
from mesh.registry import DamagedRecordError, RecordPair
from mesh.registry.image import Image
from mesh.registry.records import decode_untrusted
from storage.disk import File
from storage.errors import CorruptBatch
from storage.records import read_records
from tools.dump.batches import BATCH_BYTES_MAX, Found, Segment, sum_is_right, walk
from tools.dump.rows import DAMAGED, Counted, Row, Rows, Wanted, id_text, problem


class Shard:
    """Replays one shard, file by file."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.image = Image(ReplicaId(0, str(UUID(int=0))))
        self.records = 0
        self.applied = 0

    def dump(self, file: File, segment: Segment, wanted: Wanted) -> Rows:
        """Yield what each record says and whether it applied; damage is told elsewhere."""
        counted = Counted(wanted)
        for found in walk(file, segment):
            if not isinstance(found, Found):
                continue
            header = found.header
            if header.batch_size > BATCH_BYTES_MAX:
                continue
            if not sum_is_right(file, found.position, header):
                yield problem(
                    segment.path,
                    found.position,
                    "the CRC-32C of a batch differs; its records are left out",
                    offset=header.base_offset,
                )
                continue
            try:
                records = list(read_records(file.read(found.position, header.batch_size)))
            except CorruptBatch as error:
                yield problem(segment.path, found.position, str(error), offset=header.base_offset)
                continue
            for record in records:
                pair = RecordPair(record.key or b"", record.value or b"")
                row = self._replay(segment.path, found.position, record.offset, pair)
                is_shown = wanted.overlaps(record.offset, record.offset)
                if row.fields.get("state") == DAMAGED or (is_shown and counted.take()):
                    yield row

    def _replay(self, path: str, byte: int, offset: int, pair: RecordPair) -> Row:
        try:
            record = decode_untrusted(self.number, offset, pair)
        except DamagedRecordError as error:
            return problem(path, byte, error.cause, offset=offset)
        self.records += 1
        refused = None
        try:
            self.image.replay(offset, record)
            self.applied += 1
        except KafkaError as error:
            refused = error.code.name
        return Row(
            "registry",
            {
                "file": path,
                "offset": offset,
                "record": kind_of(record),
                "fields": plain(record),
                "applied": refused is None,
                "refused": refused,
            },
        )

    def image_rows(self, wanted: Wanted) -> Rows:
        """Yield what the records leave: topics, settings of brokers, node ids."""
        counted = Counted(wanted)
        for name, topic in sorted(self.image.topics.items()):
            if not counted.take():
                return
            yield Row(
                "topic",
                {
                    "topic": name,
                    "topic_id": id_text(topic.topic_id),
                    "partitions": len(topic.replicas),
                    "replicas": [list(nodes) for nodes in topic.replicas],
                    "configs": dict(topic.configs),
                },
            )
        for node, configs in sorted(self.image.broker_configs.items()):
            yield Row("broker_config", {"node": node or "all", "configs": dict(configs)})
        for directory_id, node_id in sorted(self.image.node_ids.items()):
            yield Row("node_id", {"node_id": node_id, "directory_id": directory_id})


def kind_of(record: object) -> str:
    """Return a record's kind as it is written: CreateTopic is create-topic."""
    name = type(record).__name__
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name)[1:]


def plain(value: object) -> object:
    """Return a record's fields as what JSON has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return id_text(value) if len(value) == 16 else value.hex()
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, str) or not isinstance(value, Iterable):
        return value
    return [plain(inner) for inner in value]
