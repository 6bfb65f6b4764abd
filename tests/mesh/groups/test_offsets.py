"""Offsets at the machine: what a coordinator keeps of topics that it knows, or not yet."""

from __future__ import annotations

import pytest

from mesh.model.errors import ErrorCode
from mesh.wire.schemas.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from mesh.wire.schemas.offset_fetch import (
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponseGroup,
)
from tests.mesh.groups.consumer_driver import GROUP, Driver


def commit(driver: Driver, offset: int) -> int:
    """Commit an offset of the first partition of `t` as an administrator; return the error."""
    partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
    topic = OffsetCommitRequestTopic(name="t", partitions=[partition])
    body = OffsetCommitRequest(group_id=GROUP, topics=[topic])
    answer = driver.ask(body, 9, driver.coordinator.offsets.commit)
    assert isinstance(answer, OffsetCommitResponse)
    return answer.topics[0].partitions[0].error_code


def fetch(driver: Driver, *, all_topics: bool = False) -> int:
    """Return what is committed in the first partition of `t`, or -1."""
    named = [OffsetFetchRequestTopics(name="t", partition_indexes=[0])]
    group = OffsetFetchRequestGroup(group_id=GROUP, topics=None if all_topics else named)
    answer = driver.ask(group, 8, driver.coordinator.offsets.fetch)
    assert isinstance(answer, OffsetFetchResponseGroup)
    return answer.topics[0].partitions[0].committed_offset if answer.topics else -1


def test_a_coordinator_keeps_offsets_of_topics_that_it_has_not_heard_of() -> None:
    """A node that leads before it has replayed the registry must not take topics for deleted."""
    driver = Driver()
    topic = driver.topics.add("t", 1)
    assert commit(driver, 43) == 0
    del driver.topics.by_name["t"]
    written = len(driver.log)
    driver.start()
    assert len(driver.log) == written
    driver.topics.by_name["t"] = topic
    assert fetch(driver) == 43


def test_a_coordinator_forgets_offsets_of_topics_that_are_gone() -> None:
    """Deleted while nobody coordinated the group: its offsets go when somebody does again."""
    driver = Driver()
    driver.topics.add("t", 1)
    assert commit(driver, 43) == 0
    driver.topics.drop("t")
    driver.start()
    assert fetch(driver, all_topics=True) == -1


@pytest.mark.parametrize("all_topics", [False, True])
def test_offsets_of_an_earlier_topic_are_none_of_its_namesake(all_topics: bool) -> None:
    """Deleted and made anew, it was read by nobody, even before its coordinator hears of that."""
    driver = Driver()
    driver.topics.add("t", 1)
    assert commit(driver, 43) == 0
    driver.topics.drop("t")
    driver.topics.add("t", 1)
    assert fetch(driver, all_topics=all_topics) == -1
    assert commit(driver, 1) == 0
    assert fetch(driver, all_topics=all_topics) == 1


@pytest.mark.parametrize(
    ("is_current", "code"),
    [
        (True, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (False, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS),
    ],
)
def test_a_topic_is_unknown_only_to_who_knows_all(
    monkeypatch: pytest.MonkeyPatch, is_current: bool, code: ErrorCode
) -> None:
    """While the registry is not replayed a client that commits is asked to come again."""
    driver = Driver()
    monkeypatch.setattr(driver.topics, "is_current", lambda: is_current)
    assert commit(driver, 43) == code
