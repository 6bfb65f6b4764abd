"""The client's picture of the cluster never goes back in time."""

from mesh.client.settings import Address
from mesh.model.errors import ErrorCode
from mesh.model.types import TopicPartition
from mesh.wire.schemas.produce import LeaderIdAndEpoch
from tests.mesh.client.builders import a_cluster, metadata

T0 = TopicPartition("t", 0)


def test_a_leader_with_an_older_epoch_is_not_believed() -> None:
    """An answer of a node that lags behind does not bring a former leader back."""
    cluster = a_cluster()
    cluster.apply(metadata({0: 2}, epochs={0: 5}), all_topics=False)
    cluster.apply(metadata({0: 1}, epochs={0: 4}), all_topics=False)
    assert cluster.leader(T0) == 2


def test_a_leader_of_a_recreated_topic_is_believed_at_any_epoch() -> None:
    """Epochs begin anew with a topic's id."""
    cluster = a_cluster()
    cluster.apply(metadata({0: 2}, epochs={0: 5}), all_topics=False)
    cluster.apply(metadata({0: 1}, epochs={0: 0}, topic_id=b"n" * 16), all_topics=False)
    assert cluster.leader(T0) == 1
    assert cluster.name_of("", b"n" * 16) == "t"


def test_a_broker_without_epochs_is_always_believed() -> None:
    """Metadata before version 7 gives no epoch, and then the newest answer counts."""
    cluster = a_cluster()
    cluster.apply(metadata({0: 3}, epochs={0: -1}), all_topics=False)
    assert cluster.leader(T0) == 3


def test_a_hint_counts_only_if_its_epoch_is_newer() -> None:
    """A leader named by an error answer is taken once, and never an old one (KIP-951)."""
    cluster = a_cluster()
    assert cluster.hint(T0, LeaderIdAndEpoch(leader_id=2, leader_epoch=1))
    assert not cluster.hint(T0, LeaderIdAndEpoch(leader_id=3, leader_epoch=1))
    assert not cluster.hint(T0, LeaderIdAndEpoch(leader_id=-1, leader_epoch=9))
    assert not cluster.hint(T0, None)
    assert cluster.leader(T0) == 2


def test_a_leader_without_an_address_is_none() -> None:
    """Nobody can be asked whose address is not known."""
    cluster = a_cluster()
    cluster.hint(T0, LeaderIdAndEpoch(leader_id=9, leader_epoch=1))
    assert cluster.leader(T0) is None
    cluster.endpoint(9, Address("node9", 9009))
    assert cluster.leader(T0) == 9


def test_a_topic_is_forgotten_when_it_is_gone() -> None:
    """An unknown topic is forgotten with its id, as is one that a full list leaves out."""
    cluster = a_cluster()
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    cluster.apply(metadata({}, error=unknown), all_topics=False)
    assert cluster.errors == {"t": unknown}
    assert cluster.partition_count("t") == 0
    cluster = a_cluster()
    cluster.apply(metadata({0: 1}, topic="other", topic_id=b"o" * 16), all_topics=True)
    assert list(cluster.topics) == ["other"]


def test_an_error_that_may_pass_keeps_what_is_known() -> None:
    """A topic that just has no leader is still there."""
    cluster = a_cluster()
    cluster.apply(metadata({}, error=ErrorCode.LEADER_NOT_AVAILABLE), all_topics=False)
    assert cluster.partition_count("t") == 1
