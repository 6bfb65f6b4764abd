"""Links between nodes as a machine: who is there, and frames that the other side can read."""

from __future__ import annotations

from mesh.links import Links, Mark, Word
from mesh.links.frames import Beat, Words, encode, parse_untrusted
from mesh.links.links import WORDS_BYTES_MAX

APPEND = 2


def beat() -> memoryview:
    return memoryview(b"".join(bytes(part) for part in encode(Beat(1, 0, 1, 1))))


def linked() -> Links:
    links = Links(1, lambda: Mark(1, 1))
    links.accepted(2, 0)
    links.opened(2)
    links.flush()
    return links


def append(group: int, batch_bytes: int, leader_epoch: int) -> Word:
    """A leader's append of a MiB of small batches."""
    batches = [bytes(batch_bytes)] * ((1 << 20) // batch_bytes)
    steps = [part for _ in batches for part in (leader_epoch, 1)]
    return Word((bytes(16), group), APPEND, [leader_epoch, 1, steps], batches)


def test_what_a_node_says_that_was_forgotten_is_not_heard() -> None:
    """It has left, and its link is about to be closed."""
    links = linked()
    assert links.received(2, beat(), 100)
    links.forget(2)
    assert links.received(2, beat(), 200) == []
    assert not links.is_there(2)


def test_what_many_groups_say_at_once_can_be_read_over_there() -> None:
    """A node that comes back is sent a MiB for each of its partitions, all in one event."""
    links = linked()
    said = [append(group, 150, 300) for group in range(40)]
    said += [append(group, 70, 5) for group in range(40, 60)]
    for word in said:
        links.say(2, word)
    frames = [b"".join(bytes(part) for part in parts) for _, parts in links.flush()]
    assert max(map(len, frames)) < 2 * WORDS_BYTES_MAX
    heard = []
    for data in frames:
        frame = parse_untrusted(memoryview(data))
        assert isinstance(frame, Words)
        heard += [(word.group, list(word.fields), len(word.blobs)) for word in frame.words]
    assert heard == [(word.group, list(word.fields), len(word.blobs)) for word in said]


def test_what_waits_for_a_flush_counts_as_waiting() -> None:
    """Else one event of many groups outgrows what a link may keep."""
    links = linked()
    for group in range(100):
        links.say(2, append(group, 10_000, 5))
    assert links.dropped_words > 30
    sent = sum(len(part) for _, parts in links.flush() for part in parts)
    assert sent < 70 << 20
    links.say(2, append(0, 10_000, 5))
    assert links.flush()
