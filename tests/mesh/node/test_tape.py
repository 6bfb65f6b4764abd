"""The event tape: bounded, readable, and no flood pushes everything else off it."""

from __future__ import annotations

from mesh.node.tape import EVENT_CHARACTERS_MAX, EVENTS_MAX, REPEAT_MS, Tape


def test_a_flood_is_one_line_with_a_count() -> None:
    """Two causes that alternate a thousand times leave what was there before."""
    tape = Tape()
    tape.add(1, "started", "")
    for at_ms in range(1_000):
        tape.add(at_ms, "connection_closed", f"10.0.0.7: cause {at_ms % 2}")
    events = tape.events()
    assert [(event.kind, event.count) for event in events] == [
        ("started", 1),
        ("connection_closed", 500),
        ("connection_closed", 500),
    ]
    assert events[-1].at_ms == 999


def test_what_comes_again_after_a_while_is_new() -> None:
    """The same event an hour later is told as another one."""
    tape = Tape()
    tape.add(0, "disk_full", "x")
    tape.add(REPEAT_MS, "disk_full", "x")
    assert [event.count for event in tape.events()] == [1, 1]


def test_the_tape_is_bounded_in_lines_and_in_text() -> None:
    """Only the newest are kept, cut, and nothing in them steers a terminal."""
    tape = Tape()
    for number in range(EVENTS_MAX + 5):
        tape.add(number, "connection_closed", f"{number} \x1b[2J\n{'x' * 1_000}")
    events = tape.events()
    assert len(events) == EVENTS_MAX
    assert events[0].text.startswith("5 ?[2J?x")
    assert all(len(event.text) <= EVENT_CHARACTERS_MAX for event in events)
