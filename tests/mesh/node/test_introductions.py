"""How a link begins: who is let in, and whose disk is an old one."""

from __future__ import annotations

from uuid import UUID

import pytest

from mesh.links import Mark
from mesh.node.introductions import Introductions, decode_marks, encode_marks
from mesh.replication import standing as st

CLUSTER = b"c" * 16


def a_node(
    node_id: int, *, start: int = 2, found_round: int = 5, round_: int = 6, alone: bool = False
) -> Introductions:
    standing = st.Standing(
        found=st.Mark(start - 1, found_round), mark=st.Mark(start, round_), alone=alone
    )
    return Introductions(CLUSTER, node_id, bytes([node_id]) * 16, standing, lambda: round_)


def directory(node_id: int) -> str:
    return str(UUID(bytes=bytes([node_id]) * 16))


def test_who_is_answered_may_take_part() -> None:
    """A member that knows nothing against this disk admits the node, once."""
    one, two = a_node(1), a_node(2)
    welcome = two.answer(one.hello(2, "n1:1"), {})
    assert not isinstance(welcome, str)
    assert one.welcomed(welcome, 0) == [st.Admit()]
    assert one.welcomed(welcome, 0) == []


def test_an_old_disk_is_told_by_what_others_heard_of_it() -> None:
    """A later round of its journal than the one on its disk: it must not take part."""
    one, two = a_node(1, start=2, found_round=5), a_node(2)
    two.heard(directory(1), Mark(1, 9), 0)
    welcome = two.answer(one.hello(2, "n1:1"), {})
    assert not isinstance(welcome, str)
    [effect] = one.welcomed(welcome, 0)
    assert effect == st.GiveUpDirectory(st.Mark(1, 5), st.Mark(1, 9))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cluster_id": b"x" * 16}, "is of another mesh"),
        ({"to_node_id": 3}, "looks for node 3, and this is node 2"),
        ({"node_id": 2}, "calls itself node 2, as this node does"),
        ({"node_id": 4}, "is node 1, and calls itself 4"),
    ],
)
def test_who_is_not_who_it_says_is_told_so(change: dict[str, object], words: str) -> None:
    """Another mesh, another node looked for, our own id, an id of another directory."""
    hello = a_node(1).hello(2, "n1:1")._replace(**change)  # type: ignore[arg-type]
    assert a_node(2).answer(hello, {directory(1): 1}) == words


def test_an_id_belongs_to_one_directory() -> None:
    """Whoever takes a member's id with a directory of its own is not let in in its place."""
    hello = a_node(1).hello(2, "n1:1")._replace(directory_id=b"x" * 16)
    refusal = a_node(2).answer(hello, {directory(1): 1})
    assert refusal == "calls itself node 1, which another directory is"
    assert not isinstance(a_node(2).answer(hello, {directory(3): 3}), str)


def test_marks_come_back_as_they_were_written() -> None:
    """A line that is none is passed over: it is best effort."""
    marks = ((directory(1), st.Mark(2, 3)), (directory(2), st.Mark(1, 0)))
    data = encode_marks(marks)
    assert decode_marks(data) == dict(marks)
    assert decode_marks(b"\xff\n" + data + b"a b c\n") == dict(marks)
