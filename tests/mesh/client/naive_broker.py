"""A naive cluster: three nodes, shared logs, Kafka's rules for sequences written out plainly.

An independent oracle for the producer's machine. It keeps values in lists and looks at nothing
but what the protocol says; nodes answer in order, leaders move, connections break.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from mesh.client.cluster import Cluster
from mesh.client.producing import Finished, GetProducerId, ProduceMachine, RefreshMetadata, Send
from mesh.model.errors import ErrorCode
from mesh.model.types import Now
from mesh.wire.schemas.produce import (
    LeaderIdAndEpoch,
    PartitionProduceResponse,
    ProduceResponse,
    TopicProduceResponse,
)
from storage.records import read_batch_header, read_records
from tests.mesh.client.builders import TOPIC_ID, at, metadata

E = ErrorCode


@dataclass
class ProducerState:
    """What a partition knows of one producer id."""

    epoch: int
    next_sequence: int
    recent: list[tuple[int, int, int]] = field(default_factory=list)
    """(first sequence, count, base offset) of the last five batches."""


@dataclass
class Log:
    """One partition."""

    leader: int
    leader_epoch: int = 0
    values: list[bytes] = field(default_factory=list)
    producers: dict[int, ProducerState] = field(default_factory=dict)

    def produce(self, data: bytes, bytes_max: int) -> tuple[ErrorCode, int]:
        """Append a batch; return the answer's code and base offset."""
        batch = memoryview(data)
        header = read_batch_header(batch)
        if len(batch) > bytes_max:
            return E.MESSAGE_TOO_LARGE, -1
        if header.producer_id >= 0:
            first, count = header.base_sequence, header.record_count
            known = self.producers.get(header.producer_id)
            if known is not None and header.producer_epoch < known.epoch:
                return E.INVALID_PRODUCER_EPOCH, -1
            if known is None:  # Anything goes: this is the trap (KIP-360).
                known = ProducerState(header.producer_epoch, first)
            elif header.producer_epoch > known.epoch:
                if first != 0:
                    return E.OUT_OF_ORDER_SEQUENCE_NUMBER, -1
                known = ProducerState(header.producer_epoch, 0)
            for old_first, old_count, base in known.recent:
                if (old_first, old_count) == (first, count):
                    return E.NONE, base
            if first != known.next_sequence:
                return E.OUT_OF_ORDER_SEQUENCE_NUMBER, -1
            known.next_sequence = (first + count) & (2**31 - 1)
            known.recent = [*known.recent[-4:], (first, count, len(self.values))]
            self.producers[header.producer_id] = known
        base = len(self.values)
        self.values += [record.value or b"" for record in read_records(batch)]
        return E.NONE, base


class NaiveWorld:
    """The cluster, the connections to it, and one machine that produces."""

    def __init__(self, rng: random.Random, partitions: int, bytes_max: int = 1 << 20) -> None:
        self.rng = rng
        self.bytes_max = bytes_max
        self.logs = [Log(rng.choice((1, 2, 3))) for _ in range(partitions)]
        self.on_the_wire: dict[int, list[Send]] = {1: [], 2: [], 3: []}
        self.refreshes: list[RefreshMetadata] = []
        self.ids_wanted = 0
        self.next_producer_id = 100
        self.now_ms = 0
        self.finished: list[Finished] = []
        self.sends = 0

    def apply_metadata(self, cluster: Cluster) -> None:
        """Tell the client who leads."""
        leaders = {index: log.leader for index, log in enumerate(self.logs)}
        epochs = {index: log.leader_epoch for index, log in enumerate(self.logs)}
        cluster.apply(metadata(leaders, epochs=epochs), all_topics=False)

    @property
    def now(self) -> Now:
        """Both clocks."""
        return at(self.now_ms)

    def poll(self, machine: ProduceMachine) -> None:
        """Carry out the machine's effects."""
        for effect in machine.poll(self.now):
            match effect:
                case Send():
                    self.on_the_wire[effect.node].append(effect)
                    self.sends += 1
                case RefreshMetadata():
                    self.refreshes.append(effect)
                case GetProducerId():
                    self.ids_wanted += 1
                case Finished():
                    self.finished.append(effect)

    def answer(self, machine: ProduceMachine, node: int, fault: ErrorCode | None = None) -> None:
        """Let the node serve its oldest request."""
        send = self.on_the_wire[node].pop(0)
        machine.answered(send.request_id, self._serve(node, send, fault), self.now)

    def cut(self, machine: ProduceMachine, node: int) -> None:
        """Break the connection: some requests were served, their answers are lost."""
        sends, self.on_the_wire[node] = self.on_the_wire[node], []
        served = self.rng.randint(0, len(sends))
        for number, send in enumerate(sends):
            if number < served:
                self._serve(node, send, None)
        for send in sends:
            machine.lost(send.request_id, self.now, maybe_sent=True)

    def move_leader(self) -> None:
        """Let another node lead some partition."""
        log = self.rng.choice(self.logs)
        log.leader, log.leader_epoch = self.rng.choice((1, 2, 3)), log.leader_epoch + 1

    def give_id(self, machine: ProduceMachine, *, works: bool = True) -> None:
        """Answer InitProducerId."""
        self.ids_wanted -= 1
        if works:
            self.next_producer_id += 1
            machine.identified(self.next_producer_id, 0)
        else:
            machine.not_identified(self.now)

    def _serve(self, node: int, send: Send, fault: ErrorCode | None) -> ProduceResponse:
        results = []
        for topic in send.request.topic_data:
            for item in topic.partition_data:
                log = self.logs[item.index]
                code, base, hint = E.NONE, -1, None
                if log.leader != node:
                    code = E.NOT_LEADER_OR_FOLLOWER
                    if self.rng.random() < 0.5:
                        hint = LeaderIdAndEpoch(leader_id=log.leader, leader_epoch=log.leader_epoch)
                elif fault is E.NOT_ENOUGH_REPLICAS:
                    code = fault
                else:
                    assert isinstance(item.records, bytes | bytearray)
                    code, base = log.produce(bytes(item.records), self.bytes_max)
                    if fault is not None and code is E.NONE:  # Written, and yet an error.
                        code, base = fault, -1
                results.append(
                    PartitionProduceResponse(
                        index=item.index, error_code=code, base_offset=base, current_leader=hint
                    )
                )
        return ProduceResponse(
            responses=[
                TopicProduceResponse(name="t", topic_id=TOPIC_ID, partition_responses=results)
            ]
        )
