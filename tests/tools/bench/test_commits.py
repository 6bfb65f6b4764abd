"""`mesh bench commits`: frames that a coordinator reads, and figures of a node of our own."""

from __future__ import annotations

import json

import pytest

from mesh.wire import decode, read_request_header
from mesh.wire.schemas.offset_commit import OffsetCommitRequest
from tools import cli
from tools.bench.commits import commit_error_at, commit_frames, groups_of
from tools.bench.report import table
from tools.errors import Exit


def test_each_frame_commits_for_another_group() -> None:
    """A connection's frames say its groups in turn, for all partitions, as no member."""
    groups = groups_of(3, count=5)
    frames = commit_frames("orders", groups, partitions=2, offset=40)
    assert len(frames) == len({len(frame) for frame in frames}) * 5
    for number, (group, frame) in enumerate(zip(groups, frames, strict=True)):
        header, position = read_request_header(memoryview(frame)[4:])
        body = decode(OffsetCommitRequest, memoryview(frame)[4:], position, header.api_version)
        (topic,) = body.topics
        assert (body.group_id, body.generation_id_or_member_epoch) == (group, -1)
        assert [p.partition_index for p in topic.partitions] == [0, 1]
        assert {p.committed_offset for p in topic.partitions} == {40 + number}


@pytest.mark.parametrize("partitions", [1, 200])
def test_the_place_of_the_error_code_depends_on_the_topic_only(partitions: int) -> None:
    """The first partition's code stands behind the topic's name, however many follow."""
    place = commit_error_at("orders", partitions)
    assert commit_error_at("orders2", partitions) == place + 1


def test_commits_are_counted_per_offset(capsys: pytest.CaptureFixture[str]) -> None:
    """Each point tells requests and offsets a second, and what an offset costs."""
    short = ("--seconds", "0.1", "--warm-up", "0", "--rounds", "1", "--connections", "2")
    status = cli.run(
        ["bench", "commits", *short, "--in-flight", "2", "--durability", "memory", "--json"]
    )
    output = capsys.readouterr()
    assert status == Exit.OK, output.err
    points = json.loads(output.out)["points"]
    assert [point["partitions"] for point in points] == [1, 10]
    for point in points:
        assert point["req_s"] > 0
        assert point["commits_s"] == point["req_s"] * point["partitions"]
    assert "CPU µs/commit" in table("commits", points)


def test_the_disk_is_watched_while_offsets_are_committed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Commits come at the rate that was asked for, or slower, and their topic's size is told."""
    arguments = ("--watch-disk", "--rate", "200", "--seconds", "0.5", "--json")
    assert cli.run(["bench", "commits", *arguments, "--durability", "memory"]) == Exit.OK
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert 0 < line["commits"] <= 104
    assert line["topic_bytes"] > line["commits"] * 60
