"""The stories: what happens to whom, when so much is processed."""

from __future__ import annotations

from dataclasses import replace

from tests.interop.members.story import Outcome, Story


def five(told: Story) -> Outcome:
    """Five members read; others join, leave, crash, stall and freeze; the broker is killed.

    Each thing happens when a share of the rows is processed, so that it happens amid reading.
    """
    for name in ("a", "b", "c"):
        told.join(name)
    told.until(0.05)
    told.join("d")
    told.join("e")
    told.joined("d", "e")
    told.until(0.15)
    told.leave("a")
    told.until(0.2)
    told.crash("b")
    told.join("f")
    told.joined("f")
    told.until(0.35)
    told.kill_broker()
    told.until(0.45)
    told.freeze("c")
    told.until(0.55)
    told.join("g")
    told.joined("g")
    told.thaw("c")
    told.stall("d")
    told.until(0.75)
    told.go("d")
    told.kill_broker()
    told.until(0.85)
    told.crash("e")
    told.join("h")
    told.joined("h")
    return told.finish()


def three(told: Story) -> Outcome:
    """The same, shorter: two members, one joins, one crashes, the broker is killed."""
    told.join("a")
    told.join("b")
    told.until(0.2)
    told.join("c")
    told.joined("a", "b", "c")
    told.until(0.4)
    told.crash("a")
    told.until(0.6)
    told.kill_broker()
    return told.finish()


def quick(told: Story) -> Outcome:
    """The least: two members, of which one crashes, and the broker is killed."""
    told.join("a")
    told.join("b")
    told.joined("a", "b")
    told.until(0.3)
    told.kill_broker()
    told.until(0.6)
    told.crash("a")
    return told.finish()


def static(told: Story) -> Outcome:
    """Static members: one that comes back disturbs nobody, and of two with one name one is fenced.

    In classic groups the newcomer fences the older one; in new ones it is itself refused until
    the older one has left or is silent for too long.
    """
    share = len(told.ledger.ends()) // 3
    # Long enough for a JVM to start meanwhile.
    told.config = replace(told.config, session_ms=15_000, poll_ms_max=15_000)
    for name in ("a", "b", "c"):
        told.join(name, instance=f"number-{name}")
    told.wait("all are even", lambda: all(len(told.held(it)) == share for it in ("a", "b", "c")))
    told.until(0.15)
    before, wrong = told.held("b"), []
    changes = [told.changes(name) for name in ("a", "c")]
    told.leave("b")
    told.join("b2", instance="number-b")
    told.wait("b is back", lambda: len(told.held("b2")) == share)
    told.until(0.4)
    if [told.changes(name) for name in ("a", "c")] != changes:
        wrong.append("a static member came back, and others were told to change")
    if told.held("b2") != before:
        wrong.append(f"a static member had {before}, and got {told.held('b2')} when it came back")
    is_new = told.config.protocol == "consumer"
    told.expect_to_give_up("b3" if is_new else "b2")
    told.join("b3", instance="number-b")
    if is_new:
        told.until(0.8)
        wrong += ["two had one name at a time"] if told.held("b3") else []
        told.crash("b3")
    else:
        told.gives_up("b2")
    outcome = told.finish()
    outcome.anomalies += wrong
    return outcome


STORIES = {"five": five, "three": three, "quick": quick, "static": static}
