"""What links are fuzzed with: it begins as what members say, and most of it is no more."""

from __future__ import annotations

import random

from mesh.broker.replica_words import from_word_untrusted
from mesh.links import BadFrameError, is_hello, parse_hello_untrusted
from mesh.links.frames import Words, parse_untrusted
from tools.fuzz.links import CLUSTER_ID, NODES, corpus, hello, link_bursts, mutated


def test_a_hunt_begins_as_what_members_say() -> None:
    """Every kind of frame and of word is there, and a node takes each."""
    kinds, words = set(), set()
    for frame in corpus():
        found = parse_untrusted(memoryview(frame))
        kinds.add(type(found).__name__)
        if isinstance(found, Words):
            words |= {type(from_word_untrusted(word)).__name__ for word in found.words}
    assert kinds == {"Words", "Beat", "Leads", "WantWhole", "Watch", "Ask", "Reply"}
    assert len(words) == 10
    for node_id in NODES:
        assert parse_hello_untrusted(hello(node_id)[4:]).cluster_id == CLUSTER_ID


def test_what_was_changed_is_mostly_refused_and_often_taken() -> None:
    """Neither all nonsense, which is cut at once, nor all sound."""
    rng, taken = random.Random(1), 0
    for _ in range(1_000):
        try:
            parse_untrusted(memoryview(mutated(rng)))
        except BadFrameError:
            continue
        taken += 1
    assert 250 < taken < 750


def test_a_burst_is_a_link() -> None:
    """It begins with a hello, mostly a sound one; the same numbers give the same bursts."""
    bursts = list(link_bursts(random.Random(3), 2_000))
    assert bursts == list(link_bursts(random.Random(3), 2_000))
    assert 2_000 <= sum(map(len, bursts)) < 2_020
    sound = sum(is_hello(burst[0][4:]) and CLUSTER_ID in burst[0] for burst in bursts)
    assert sound > 0.9 * len(bursts)
