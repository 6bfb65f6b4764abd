"""Nodes that believe what is over: leaders, replicas and members of the past."""

from __future__ import annotations

from mesh.model.errors import ErrorCode
from mesh.replication import events as ev
from mesh.wire.schemas.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from simulations.cluster import VirtualNode
from simulations.workload import Wire
from storage.records import Record, build_batch
from tests.mesh.node.test_replicas import WAIT_MS, a_mesh, ask, core, create, leader_of


def test_a_leader_that_stood_still_refuses_no_sequence_that_another_one_took() -> None:
    """A producer takes OUT_OF_ORDER for a loss; only whoever still leads may say it."""
    cluster = a_mesh()

    def write(number: int) -> ProduceRequest:
        record = Record(0, 1, None, b"%d" % number)
        batch = build_batch([record], producer_id=7, producer_epoch=0, base_sequence=number)
        data = PartitionProduceData(index=0, records=bytes(batch))
        topic = TopicProduceData(name="t", partition_data=[data])
        return ProduceRequest(acks=-1, timeout_ms=3_000, topic_data=[topic])

    def error_of(answer: ProduceResponse | None) -> int:
        assert answer is not None
        return answer.responses[0].partition_responses[0].error_code

    assert create(cluster) == 0
    old = leader_of(cluster)
    assert error_of(ask(cluster, old.node_id, write(0), ProduceResponse, 9)) == 0
    old.pause()
    answers: list[ProduceResponse | None] = []
    Wire(cluster).ask(old.node_id, write(2), ProduceResponse, 9, answers.append)
    others = [node for node in cluster.nodes.values() if node is not old]

    def leader() -> VirtualNode | None:
        parts = [(node, core(cluster, node.node_id).broker.partition("t", 0)) for node in others]
        return next((node for node, partition in parts if partition.leads), None)

    assert cluster.until(lambda: leader() is not None, WAIT_MS)
    after = leader()
    assert after is not None
    assert error_of(ask(cluster, after.node_id, write(1), ProduceResponse, 9)) == 0
    old.resume()
    assert cluster.until(lambda: bool(answers), WAIT_MS)
    assert error_of(answers[0]) == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert error_of(ask(cluster, after.node_id, write(2), ProduceResponse, 9)) == 0
    late = error_of(ask(cluster, after.node_id, write(9), ProduceResponse, 9))
    assert late == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_an_order_to_leave_is_answered_by_who_heard_of_nothing_before() -> None:
    """Taken in and dismissed while its link was cut, a replica may be taken in again later."""
    cluster = a_mesh(4)
    assert create(cluster, factor=3) == 0
    leader = leader_of(cluster)
    broker = core(cluster, leader.node_id).broker
    partition = broker.partition("t", 0)
    (stranger,) = set(cluster.nodes) - set(partition.replicas)
    newcomer = core(cluster, stranger).broker.groups.me
    cluster.cut(leader.node_id, stranger)
    for learners in ((newcomer,), ()):
        broker.groups.feed(partition, ev.Adopt(learners), cluster.now.monotonic_ms)
    leader.carry_out(core(cluster, leader.node_id).woken(cluster.now))
    assert newcomer in partition.group.role.leaving
    cluster.heal()
    assert cluster.until(lambda: newcomer not in partition.group.role.leaving, WAIT_MS)


def test_one_that_was_given_up_follows_again_when_it_is_back() -> None:
    """A node that returns after its replicas were given up hears so, and knows all topics again."""
    cluster = a_mesh(3, config={"replica.replace.after.ms": "1000"})
    gone = cluster.nodes[3]

    def votes() -> set[int]:
        """Tell whether the node votes, over all shards of the registry."""
        cluster.membership_changed()
        shards = core(cluster, 1).broker.shards
        voters = [shard.group.holding.promise.config.voters for shard in shards]
        return {sum(voter.node_id == gone.node_id for voter in each) for each in voters}

    assert cluster.until(lambda: votes() == {1}, 60_000, 200)
    gone.stop(crash=False)
    assert cluster.until(lambda: votes() == {0}, 60_000, 200)
    cluster.run_ms(1_000)
    assert create(cluster, factor=2) == 0
    gone.start()
    back = core(cluster, 3)
    assert cluster.until(lambda: back.neighbours.is_caught_up, WAIT_MS)
    assert "t" in back.broker.registry.topics


def test_a_mesh_that_grows_says_so_until_every_voter_is_there() -> None:
    """While the founder alone votes, the mesh does not outlive it, and no node calls it healthy."""
    cluster = a_mesh(1)
    cluster.add(2)
    cluster.add(3)
    others = [1, 2, 3]
    assert cluster.until(lambda: core(cluster, 1).neighbours.lacking_voters > 0, WAIT_MS, 1)

    def is_spread() -> bool:
        return all(core(cluster, one).neighbours.lacking_voters == 0 for one in others)

    def is_safe() -> bool:
        shards = core(cluster, 1).broker.shards
        return all(len(shard.group.holding.promise.config.voters) == 3 for shard in shards)

    assert cluster.until(lambda: is_spread() and is_safe(), WAIT_MS)
