"""The machine of links: who is there, what each leads, and what is lost with a link."""

from __future__ import annotations

import random

import pytest

from mesh.links import LedChanged, Links, Mark, Said, Silent, Word
from mesh.links.frames import Ask, Led, WantWhole, Words, encode, parse_untrusted
from mesh.links.links import BACKLOG_BYTES_MAX, BEAT_MS, NEVER_MS, SILENT_MS, WORDS_BYTES_MAX

APPEND = 2
GROUPS = [(bytes([n]) * 16, n) for n in range(6)]
NOW = 10_000


def a_pair() -> tuple[Links, Links]:
    """Two nodes with links to each other."""
    one, two = Links(1, lambda: Mark(1, 1)), Links(2, lambda: Mark(1, 1))
    open_link(one, two)
    open_link(two, one)
    return one, two


def open_link(opener: Links, other: Links, now_ms: int = NOW) -> None:
    other.accepted(opener.node_id, now_ms)
    opener.opened(other.node_id)


def carry(sender: Links, to: Links, now_ms: int = NOW) -> list[object]:
    """Bring all that one has to say to the other."""
    events: list[object] = []
    for node_id, parts in sender.flush():
        assert node_id == to.node_id
        frame = b"".join(bytes(part) for part in parts)
        events += to.received(sender.node_id, memoryview(bytearray(frame)), now_ms)
    return events


def talk(one: Links, two: Links, now_ms: int) -> None:
    """Let both beat, and say what follows."""
    for links in (one, two):
        links.tick(now_ms)
    for _ in range(3):
        carry(one, two, now_ms)
        carry(two, one, now_ms)


def led(epoch: int = 1) -> Led:
    return Led(epoch, 0, (1, 2), (1,))


def test_a_new_link_begins_with_all_that_is_led() -> None:
    """And goes on with what changes, all of one event in one frame."""
    one, two = Links(1, lambda: Mark(1, 1)), Links(2, lambda: Mark(1, 1))
    one.lead(GROUPS[0], led())
    open_link(one, two)
    carry(one, two)
    assert dict(two.led_by(1)) == {GROUPS[0]: led()}
    one.lead(GROUPS[1], led(2))
    one.lead(GROUPS[0], None)
    assert carry(one, two) == [LedChanged(1, {GROUPS[1]: led(2), GROUPS[0]: None})]
    assert dict(two.led_by(1)) == {GROUPS[1]: led(2)}


def test_words_of_one_event_leave_in_one_frame_and_in_order() -> None:
    """Whatever groups they are for; batches with them."""
    one, two = a_pair()
    carry(one, two)
    for number in range(3):
        one.say(2, Word(GROUPS[number], 3, [number], [b"batch"]))
    [said] = carry(one, two)
    assert isinstance(said, Said)
    assert [word.fields for word in said.words] == [[0], [1], [2]]


def test_who_says_nothing_for_600_ms_is_silent_and_leads_nothing() -> None:
    """Until it says something again; then its list is asked for."""
    one, two = a_pair()
    one.lead(GROUPS[0], led())
    talk(one, two, NOW)
    at_ms, events = NOW, two.tick(NOW)
    while at_ms < NOW + SILENT_MS:
        at_ms += BEAT_MS
        events = two.tick(at_ms)
    assert events == [Silent(1, NOW, False), LedChanged(1, {GROUPS[0]: None})]
    assert two.heard_at_ms(1) == NEVER_MS
    assert not two.is_there(1)
    talk(one, two, at_ms + BEAT_MS)
    assert dict(two.led_by(1)) == {GROUPS[0]: led()}
    assert two.is_there(1)


def test_a_link_that_ends_is_noticed_at_once() -> None:
    """Its node leads nothing from then on."""
    one, two = a_pair()
    one.lead(GROUPS[0], led())
    talk(one, two, NOW)
    assert two.lost(1) == [Silent(1, NOW, True), LedChanged(1, {GROUPS[0]: None})]
    assert two.lost(1) == []


def test_whoever_stood_still_holds_nobody_for_silent() -> None:
    """A tick that comes much too late gives the time back: nothing was read meanwhile."""
    one, two = a_pair()
    talk(one, two, NOW)
    assert two.tick(NOW + 5_000) == []
    assert two.is_there(1)
    assert two.heard_at_ms(1) >= NOW + 5_000 - BEAT_MS


def test_what_was_read_before_a_late_tick_is_not_heard_in_the_future() -> None:
    """Who goes quiet then is silent after 600 ms, and no later."""
    one, two = a_pair()
    talk(one, two, NOW)
    late_ms = NOW + 5_000
    one.tick(late_ms)
    carry(one, two, late_ms)
    two.tick(late_ms)
    assert two.heard_at_ms(1) == late_ms
    events = [event for ms in range(late_ms, late_ms + 700, BEAT_MS) for event in two.tick(ms)]
    assert events == [Silent(1, late_ms, False)]


def test_what_a_slow_link_does_not_take_is_dropped_and_counted() -> None:
    """Groups say it again; nothing grows without bound."""
    one, _ = a_pair()
    one.flush()
    one.backlog(2, BACKLOG_BYTES_MAX + 1)
    one.say(2, Word(GROUPS[0], 1, []))
    one.say(9, Word(GROUPS[0], 1, []))
    assert one.dropped_words == 2
    assert one.flush() == []
    one.backlog(2, 0)
    one.say(2, Word(GROUPS[0], 1, []))
    assert len(one.flush()) == 1


def test_what_a_forgotten_node_says_means_nothing() -> None:
    """Its link may be open for a while yet."""
    one, two = a_pair()
    one.lead(GROUPS[0], led())
    two.forget(1)
    assert carry(one, two) == []
    assert dict(two.led_by(1)) == {}


@pytest.mark.parametrize("seed", range(100))
def test_both_come_to_know_what_the_other_leads(seed: int) -> None:
    """Through lost frames, links that break and silence: after two quiet beats the lists agree."""
    rng = random.Random(seed)
    one, two = a_pair()
    truth: dict[int, dict[object, Led]] = {1: {}, 2: {}}
    now_ms = NOW
    for _ in range(60):
        now_ms += rng.randrange(BEAT_MS)
        sender, other = rng.choice(((one, two), (two, one)))
        match rng.randrange(6):
            case 0 | 1:
                group, epoch = rng.choice(GROUPS), rng.randrange(5)
                sender.lead(group, led(epoch))
                truth[sender.node_id][group] = led(epoch)
            case 2:
                group = rng.choice(GROUPS)
                sender.lead(group, None)
                truth[sender.node_id].pop(group, None)
            case 3:
                carry(sender, other, now_ms)
            case 4:
                sender.closed(other.node_id)
                other.lost(sender.node_id)
                open_link(sender, other, now_ms)
            case _:
                sender.tick(now_ms)
    for _ in range(4):
        now_ms += BEAT_MS
        talk(one, two, now_ms)
    assert dict(two.led_by(1)) == truth[1]
    assert dict(one.led_by(2)) == truth[2]


def append(group: int, batch_bytes: int, leader_epoch: int) -> Word:
    """A leader's append of a MiB of small batches."""
    batches = [bytes(batch_bytes)] * ((1 << 20) // batch_bytes)
    steps = [part for _ in batches for part in (leader_epoch, 1)]
    return Word((bytes(16), group), APPEND, [leader_epoch, 1, steps], batches)


def test_what_many_groups_say_at_once_can_be_read_over_there() -> None:
    """A node that comes back is sent a MiB for each of its partitions, all in one event."""
    links, _ = a_pair()
    links.flush()
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
    links, _ = a_pair()
    links.flush()
    for group in range(100):
        links.say(2, append(group, 10_000, 5))
    assert links.dropped_words > 30
    sent = sum(len(part) for _, parts in links.flush() for part in parts)
    assert sent < 70 << 20
    links.say(2, append(0, 10_000, 5))
    assert links.flush()


def test_many_questions_for_the_whole_list_get_one_answer() -> None:
    """Small frames make no more to send than one list, and nothing for whoever does not read."""
    one, two = a_pair()
    carry(one, two)
    carry(two, one)
    question = b"".join(bytes(part) for part in encode(WantWhole()))
    for _ in range(1000):
        assert one.received(2, memoryview(bytearray(question)), NOW) == []
    assert len(one.flush()) == 1
    one.backlog(2, BACKLOG_BYTES_MAX + 1)
    one.received(2, memoryview(bytearray(question)), NOW)
    assert one.flush() == []
    assert not one.put(2, Ask(1, 0, 0, "", b""))
