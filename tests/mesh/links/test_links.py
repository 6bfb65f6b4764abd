"""The machine of links: who is there, what each leads, and what is lost with a link."""

from __future__ import annotations

import random

import pytest

from mesh.links import LedChanged, Links, Mark, Said, Silent, Word
from mesh.links.frames import (
    Ask,
    Beat,
    Frame,
    Led,
    WantWhole,
    Watch,
    Words,
    encode,
    parse_untrusted,
)
from mesh.links.links import BACKLOG_BYTES_MAX, BEAT_MS, NEVER_MS, SILENT_MS, WORDS_BYTES_MAX

APPEND = 2
GROUPS = [(bytes([n]) * 16, n) for n in range(6)]
NOW = 10_000


def a_pair(*, watching: bool = True) -> tuple[Links, Links]:
    """Two nodes with links to each other, that have to know of each other whether they live."""
    one, two = Links(1, lambda: Mark(1, 1)), Links(2, lambda: Mark(1, 1))
    if watching:
        one.watch(2)
        two.watch(1)
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
    """Through lost links, silence, and heartbeats or none: after some quiet beats lists agree."""
    rng = random.Random(seed)
    one, two = a_pair()
    truth: dict[int, dict[object, Led]] = {1: {}, 2: {}}
    watches = {1: 1, 2: 1}
    now_ms = NOW
    for _ in range(60):
        now_ms += rng.randrange(BEAT_MS)
        sender, other = rng.choice(((one, two), (two, one)))
        match rng.randrange(9):
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
            case 5:
                sender.dead(rng.choice(((), (other.node_id,))))
            case 6:
                sender.watch(other.node_id)
                watches[sender.node_id] += 1
            case 7 if watches[sender.node_id]:
                sender.unwatch(other.node_id)
                watches[sender.node_id] -= 1
            case _:
                sender.tick(now_ms)
    one.dead(())
    two.dead(())
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


def said(links: Links) -> list[Frame]:
    """Take what a node has to say."""
    parts = (b"".join(bytes(part) for part in parts) for _, parts in links.flush())
    return [parse_untrusted(memoryview(bytearray(frame))) for frame in parts]


def pass_time(one: Links, two: Links, begin_ms: int, beats: int) -> tuple[int, list[object]]:
    """Let both tick and hear each other; return when that is over, and what happened."""
    now_ms, events = begin_ms, list[object]()
    for _ in range(beats):
        now_ms += BEAT_MS
        events += one.tick(now_ms) + two.tick(now_ms)
        for _ in range(2):  # A question, and its answer.
            events += carry(one, two, now_ms) + carry(two, one, now_ms)
    return now_ms, events


def test_where_neither_has_to_know_of_the_other_no_heartbeat_goes() -> None:
    """But one that tells so, when the link is new; then nobody is silent who says nothing."""
    one, two = a_pair(watching=False)
    now_ms, _ = pass_time(one, two, NOW, 1)
    for _ in range(20):
        now_ms += BEAT_MS
        assert one.tick(now_ms) + two.tick(now_ms) == []
        assert said(one) + said(two) == []
    assert one.is_there(2)
    assert two.is_there(1)
    one.lead(GROUPS[0], led())
    assert carry(one, two, now_ms) == [LedChanged(1, {GROUPS[0]: led()})]


def test_if_one_has_to_know_of_the_other_both_send_heartbeats() -> None:
    """As long as there is any reason; with the last of them they end on both sides."""
    one, two = a_pair(watching=False)
    now_ms, _ = pass_time(one, two, NOW, 1)
    one.watch(2)
    one.watch(2)
    now_ms, _ = pass_time(one, two, now_ms, 2)
    for _ in range(2):
        now_ms += BEAT_MS
        assert one.tick(now_ms) + two.tick(now_ms) == []
        kinds = [[type(frame) for frame in said(links)] for links in (one, two)]
        assert kinds == [[Beat], [Beat]]
        one.unwatch(2)
    one.tick(now_ms + BEAT_MS)
    assert [type(frame) for frame in said(one)] == [Watch, Beat]


def test_who_begins_to_be_watched_has_time_to_say_something() -> None:
    """It said nothing for long because it had not to."""
    one, two = a_pair(watching=False)
    now_ms, _ = pass_time(one, two, NOW, 20)
    one.watch(2)
    now_ms, events = pass_time(one, two, now_ms, 20)
    assert [event for event in events if isinstance(event, Silent)] == []
    assert one.heard_at_ms(2) == now_ms
    events = []
    while now_ms < NOW + 10_000:
        now_ms += BEAT_MS
        events += one.tick(now_ms)
    assert [type(event) for event in events] == [Silent]


def test_gossip_tells_of_a_death_where_no_heartbeat_does() -> None:
    """Its list counts no more, and comes back with the node; a link that beats knows better."""
    one, two = a_pair(watching=False)
    one.lead(GROUPS[0], led())
    now_ms, _ = pass_time(one, two, NOW, 2)
    heard_at_ms = two.heard_at_ms(1)
    assert two.dead([1]) == [Silent(1, heard_at_ms, False), LedChanged(1, {GROUPS[0]: None})]
    assert two.dead([1]) == []
    assert not two.is_there(1)
    now_ms, events = pass_time(one, two, now_ms, 3)
    assert events == []
    two.dead([])
    now_ms, events = pass_time(one, two, now_ms, 3)
    assert events == [LedChanged(1, {GROUPS[0]: led()})]
    assert two.is_there(1)
    one.watch(2)
    pass_time(one, two, now_ms, 2)
    assert two.dead([1]) == []


def test_who_was_silent_and_need_not_speak_any_more_is_asked() -> None:
    """Else a node that stood still for a moment would not be there for ever."""
    one, two = a_pair()
    one.lead(GROUPS[0], led())
    now_ms, _ = pass_time(one, two, NOW, 2)
    while two.is_there(1):
        now_ms += BEAT_MS
        two.tick(now_ms)
    one.unwatch(2)
    two.unwatch(1)
    pass_time(one, two, now_ms, 4)
    assert two.is_there(1)
    assert dict(two.led_by(1)) == {GROUPS[0]: led()}


def test_a_node_that_links_anew_is_told_something_over_our_link() -> None:
    """For that one may be to a process that is no more, and only who sends hears of it."""
    one, two = a_pair(watching=False)
    now_ms, _ = pass_time(one, two, NOW, 5)
    one.lost(2)
    one.accepted(2, now_ms)
    one.tick(now_ms + BEAT_MS)
    assert [type(frame) for frame in said(one)] == [Watch, Beat]


def test_nobody_is_silent_who_was_not_asked_to_speak() -> None:
    """While our link to a node is down it does not know that we have to hear from it."""
    one, two = Links(1, lambda: Mark(1, 1)), Links(2, lambda: Mark(1, 1))
    one.watch(2)
    open_link(two, one)
    now_ms = NOW
    for _ in range(20):
        now_ms += BEAT_MS
        assert one.tick(now_ms) == []
    assert one.heard_at_ms(2) == NOW
    open_link(one, two, now_ms)
    now_ms, events = pass_time(one, two, now_ms, 2)
    assert one.heard_at_ms(2) == now_ms
    assert not any(isinstance(event, Silent) for event in events)
