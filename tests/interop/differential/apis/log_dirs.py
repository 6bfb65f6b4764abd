"""DescribeLogDirs and AlterReplicaLogDirs."""

from __future__ import annotations

from mesh.wire.schemas.alter_replica_log_dirs import (
    AlterReplicaLogDir,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirTopic,
)
from mesh.wire.schemas.describe_log_dirs import (
    DescribableLogDirTopic,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
)
from tests.interop.differential.ask import fill
from tests.interop.differential.batches import batch
from tests.interop.differential.cases import case, surprise
from tests.interop.differential.talk import Answer, SetupError, Talk

ELSEWHERE = "/no/such/directory"


def dirs(**partitions: list[int]) -> DescribeLogDirsRequest:
    """Return a DescribeLogDirs of these partitions of topics."""
    topics = [
        DescribableLogDirTopic(topic=name, partitions=indexes)
        for name, indexes in partitions.items()
    ]
    return DescribeLogDirsRequest(topics=topics)


def hear_dirs(talk: Talk, request: DescribeLogDirsRequest, label: str = "") -> None:
    """Ask, and record the answer without what is the machine's, and without others' topics."""
    answer = talk.connection.ask(request, talk.version)
    if isinstance(answer, DescribeLogDirsResponse):
        for found in answer.results:
            found.log_dir = "the directory" if found.log_dir.startswith("/") else found.log_dir
            if talk.version >= 4:
                # The disk fills and empties while we look; how far is the next line's to say.
                inside = 0 < found.usable_bytes <= found.total_bytes
                found.total_bytes, found.usable_bytes = int(inside), int(inside)
            found.topics = [topic for topic in found.topics if topic.name in talk.names]
    talk.hear(answer, label=label or "DescribeLogDirs")


@case(DescribeLogDirsRequest)
def log_dirs(talk: Talk) -> None:
    """Sizes of partitions that hold something and of those that do not"""
    topic, other = talk.topic(partitions=3), talk.topic("other")
    fill(talk, topic, batch(b"a", b"b"), batch(b"c" * 1000))
    fill(talk, topic, batch(b"a"), partition=2)
    hear_dirs(talk, DescribeLogDirsRequest(topics=None), label="all")
    hear_dirs(talk, dirs(**{topic: [0, 1, 2]}), label="a topic")
    hear_dirs(talk, dirs(**{topic: [2], other: [0]}), label="some of two topics")


@case(DescribeLogDirsRequest)
def log_dirs_unknown(talk: Talk) -> None:
    """Unknown topics and partitions, no partitions, no topics, a partition twice"""
    topic = talk.topic()
    for request in (
        dirs(**{talk.name(): [0]}),
        dirs(**{topic: [0, 1, -1]}),
        dirs(**{topic: []}),
        dirs(**{topic: [0, 0]}),
        dirs(),
    ):
        hear_dirs(talk, request)
    twice = dirs(**{topic: [0]})
    twice.topics = [*(twice.topics or []), *(twice.topics or [])]
    hear_dirs(talk, twice, label="a topic twice")


def move(path: str, **partitions: list[int]) -> AlterReplicaLogDirsRequest:
    """Return an AlterReplicaLogDirs of partitions to one directory."""
    topics = [
        AlterReplicaLogDirTopic(name=name, partitions=indexes)
        for name, indexes in partitions.items()
    ]
    return AlterReplicaLogDirsRequest(dirs=[AlterReplicaLogDir(path=path, topics=topics)])


def own_directory(talk: Talk) -> str:
    """Return the broker's one directory."""
    answer: Answer = talk.connection.ask(DescribeLogDirsRequest(topics=[]), 4)
    if not isinstance(answer, DescribeLogDirsResponse):
        raise SetupError(f"DescribeLogDirs was answered with {answer}")
    return answer.results[0].log_dir


@case(AlterReplicaLogDirsRequest)
def move_to_own_directory(talk: Talk) -> None:
    """To the directory where they are: known partitions, unknown ones, twice"""
    topic, path = talk.topic(partitions=2), own_directory(talk)
    talk.ask(move(path, **{topic: [0, 1]}), label="there already")
    talk.ask(move(path, **{topic: [0, 0]}), label="twice")
    talk.ask(move(path, **{topic: [0, 7, -1]}), label="an unknown partition")
    talk.ask(move(path, **{talk.name(): [0]}), label="an unknown topic")
    talk.ask(move(path, **{topic: []}), label="no partition")
    talk.ask(move(path), label="no topic")
    for name in ("a/b", ""):
        talk.ask(move(path, **{name: [0]}), label=f"no topic's name: {name!r}")


@case(AlterReplicaLogDirsRequest)
def move_elsewhere(talk: Talk) -> None:
    """To directories that the broker does not have"""
    topic, path = talk.topic(partitions=2), own_directory(talk)
    for place in (ELSEWHERE, "relative", "", f"{path}/", f"{path}/../{path.split('/')[-1]}"):
        shown = place if len(place) < 20 else place[-4:]
        talk.ask(move(place, **{topic: [0, 7]}), label=f"to {shown!r}")
        talk.ask(move(place, **{talk.name(): [0]}), label=f"unknown, to {shown!r}")
    talk.ask(AlterReplicaLogDirsRequest(), label="nothing")


@case(AlterReplicaLogDirsRequest)
def move_to_several(talk: Talk) -> None:
    """One partition to two directories, and partitions of two topics to one"""
    topic, other, path = talk.topic(), talk.topic("other"), own_directory(talk)
    request = move(path, **{topic: [0]})
    request.dirs += move(ELSEWHERE, **{topic: [0]}).dirs
    talk.ask(request, label="right first")
    request.dirs.reverse()
    talk.ask(request, label="wrong first")
    talk.ask(move(path, **{topic: [0], other: [0]}), label="two topics")


surprise(
    DescribeLogDirsRequest,
    """Partitions that are not there are left out without a word; the directory itself is always
    in the answer.""",
)
surprise(
    AlterReplicaLogDirsRequest,
    """A partition that two directories name is answered once, for the later one.""",
)
surprise(
    AlterReplicaLogDirsRequest,
    """A directory is one only in the very letters that DescribeLogDirs tells: with a slash more
    it is LOG_DIR_NOT_FOUND (57), also for partitions that do not exist.""",
)
