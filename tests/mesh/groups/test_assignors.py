"""Who reads what: properties that any assignment must have, tables, and Java's orders."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from mesh.groups.assignors import ASSIGNORS, Assignment, HashOrder, Spec, Subscriber, text_hash
from mesh.groups.assignors.order import id_hash, number_hash, timeline_order
from mesh.model.types import TopicId

A, B, C = (bytes([0] * 15 + [number]) for number in (1, 2, 3))


def spec(
    members: dict[str, list[TopicId]],
    partitions: dict[TopicId, int],
    targets: dict[str, Assignment] | None = None,
    statics: dict[str, str] | None = None,
) -> Spec:
    targets, statics = targets or {}, statics or {}
    return Spec(
        members={
            name: Subscriber(topics, statics.get(name), targets.get(name, {}), len(topics))
            for name, topics in members.items()
        },
        partitions=partitions,
        alike=len({frozenset(topics) for topics in members.values()}) <= 1,
    )


def assign(assignor: str, of: Spec) -> dict[str, dict[TopicId, list[int]]]:
    """Return an assignment that can be compared."""
    found = ASSIGNORS[assignor](of)
    return {
        name: {topic: sorted(parts) for topic, parts in found.get(name, {}).items()}
        for name in of.members
    }


def owners(of: Spec, assigned: dict[str, dict[TopicId, list[int]]]) -> Counter[tuple[bytes, int]]:
    """Count who has each partition; a partition that nobody can have is not looked for."""
    found = Counter(
        (topic, partition)
        for topics in assigned.values()
        for topic, partitions in topics.items()
        for partition in partitions
    )
    for member in of.members.values():
        for topic in member.topic_ids:
            for partition in range(of.partitions[topic]):
                found.setdefault((topic, partition), 0)
    return found


def a_group(
    rng: random.Random, *, alike: bool
) -> tuple[dict[str, list[TopicId]], dict[bytes, int]]:
    topics = {rng.randbytes(16): rng.randint(1, 9) for _ in range(rng.randint(1, 5))}
    every = list(topics)
    names = [f"m{number}" for number in range(rng.randint(1, 9))]
    rng.shuffle(names)
    members = {
        name: every if alike else rng.sample(every, rng.randint(0, len(every))) for name in names
    }
    return members, topics


@pytest.mark.parametrize("assignor", ASSIGNORS)
@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("seed", range(60))
def test_every_partition_has_exactly_one_reader(assignor: str, alike: bool, seed: int) -> None:
    """Round after round, each partition of a topic goes to one of its subscribers, and no other."""
    rng = random.Random(seed)
    members, topics = a_group(rng, alike=alike)
    targets: dict[str, Assignment] = {}
    for _ in range(6):
        now = spec(members, topics, targets)
        assigned = assign(assignor, now)
        assert set(owners(now, assigned).values()) <= {1}
        for name, each in assigned.items():
            assert set(each) <= set(members[name])
        targets = dict(ASSIGNORS[assignor](now))
        if len(members) > 1 and rng.random() < 0.5:
            gone = rng.choice(list(members))
            del members[gone]
            targets.pop(gone, None)
        else:
            members[f"n{rng.random()}"] = list(rng.choice(list(members.values())))
        if rng.random() < 0.3:
            topics[rng.choice(list(topics))] += 1


@pytest.mark.parametrize("seed", range(60))
def test_uniform_is_even_and_takes_no_more_than_it_must(seed: int) -> None:
    """Where all subscribe alike, loads differ by one at most, and only what is too much moves."""
    rng = random.Random(seed)
    members, topics = a_group(rng, alike=True)
    targets: dict[str, Assignment] = {}
    for _ in range(6):
        now = spec(members, topics, targets)
        assigned = assign("uniform", now)
        loads = [sum(map(len, each.values())) for each in assigned.values()]
        assert max(loads) - min(loads) <= 1
        total, count = sum(topics.values()), len(members)
        share, extra = divmod(total, count)
        had = sorted(
            (sum(map(len, targets.get(name, {}).values())) for name in members), reverse=True
        )
        # The naive oracle: the fullest members are the ones that may have one more.
        kept = sum(min(size, share + (place < extra)) for place, size in enumerate(had))
        same = sum(
            len(set(partitions) & set(targets.get(name, {}).get(topic, ())))
            for name, each in assigned.items()
            for topic, partitions in each.items()
        )
        assert same >= kept - extra, "Kafka's way gives the extra ones in its own order"
        assert same >= sum(min(size, share) for size in had)
        targets = dict(ASSIGNORS["uniform"](now))
        if len(members) > 1 and rng.random() < 0.5:
            gone = rng.choice(list(members))
            del members[gone]
            targets.pop(gone, None)
        else:
            members[f"n{rng.random()}"] = list(topics)


@pytest.mark.parametrize("seed", range(60))
def test_nobody_could_take_from_somebody_with_two_more(seed: int) -> None:
    """Where members differ, no single move would make it more even."""
    rng = random.Random(seed)
    members, topics = a_group(rng, alike=False)
    now = spec(members, topics)
    assigned = assign("uniform", now)
    loads = {name: sum(map(len, each.values())) for name, each in assigned.items()}
    for name, each in assigned.items():
        for topic in each:
            for other, subscribed in members.items():
                if topic in subscribed:
                    assert loads[name] - loads[other] <= 1


@pytest.mark.parametrize("seed", range(40))
def test_range_is_what_cutting_each_topic_says(seed: int) -> None:
    """Each topic's partitions, in order, go in stretches to its subscribers, in order."""
    rng = random.Random(seed)
    members, topics = a_group(rng, alike=rng.random() < 0.5)
    statics = {name: f"i{rng.random()}" for name in members if rng.random() < 0.3}
    now = spec(members, topics, statics=statics)
    expected: dict[str, dict[TopicId, list[int]]] = {name: {} for name in members}
    ordered = [name for _, name in sorted((instance, name) for name, instance in statics.items())]
    ordered += sorted(name for name in members if name not in statics)
    for topic, count in topics.items():
        readers = [name for name in ordered if topic in members[name]]
        at = 0
        for place, name in enumerate(readers):
            size = count // len(readers) + (place < count % len(readers))
            if size:
                expected[name][topic] = list(range(at, at + size))
            at += size
    assert assign("range", now) == expected


def test_uniform_sticks() -> None:
    """A newcomer gets what is too much for the others; who leaves gives to those with least."""
    partitions = {A: 4, B: 2}
    members = {"one": [A, B], "two": [A, B]}
    targets: dict[str, Assignment] = {"one": {A: [0, 1], B: [0]}, "two": {A: [2, 3], B: [1]}}
    three = {**members, "new": [A, B]}
    assigned = assign("uniform", spec(three, partitions, targets))
    assert assigned == {"one": {A: [0, 1]}, "two": {A: [2, 3]}, "new": {B: [0, 1]}}
    left: dict[str, Assignment] = {"two": assigned["two"], "new": assigned["new"]}
    alone = assign("uniform", spec({"two": [A, B], "new": [A, B]}, partitions, left))
    assert {A: [2, 3]}.items() <= alone["two"].items() or 2 in alone["two"][A]
    assert sorted(sum(map(len, each.values())) for each in alone.values()) == [3, 3]


def test_nobody_and_nothing() -> None:
    """Without members, or topics, there is nothing to assign."""
    for assignor in ASSIGNORS:
        assert assign(assignor, spec({}, {})) == {}
        assert assign(assignor, spec({"one": []}, {})) == {"one": {}}


def test_what_is_no_longer_subscribed_is_taken_away() -> None:
    """A target may hold topics that its member has dropped; they go, whoever else subscribes."""
    targets: dict[str, Assignment] = {"one": {A: [0, 1], C: [0]}}
    for members in ({"one": [A]}, {"one": [A], "two": [A, B]}):
        assigned = assign("uniform", spec(members, {A: 2, B: 1}, targets))
        assert C not in assigned["one"]


@pytest.mark.parametrize("text", ["", "range", "hello", "grüße", "\U0001f600", "a" * 99])
def test_texts_hash_as_in_java(text: str) -> None:
    """String.hashCode: a sum of powers of 31 over UTF-16 units, in 32 bits."""
    assert text_hash(text) == _java_hash(text)
    assert text_hash("hello") == 99162322, "as the JVM prints it"


def _java_hash(text: str) -> int:
    """Compute it from its definition, a sum of powers of 31."""
    units = memoryview(text.encode("utf-16-le")).cast("H")
    return int(sum(unit * 31**power for power, unit in enumerate(reversed(units)))) % 2**32


def test_ids_hash_as_kafkas_uuid_does() -> None:
    """Both halves folded into 64 bits, and these into 32."""
    assert id_hash(bytes.fromhex("00000001000000020000000400000008")) == 1 ^ 2 ^ 4 ^ 8


def test_numbers_come_in_the_order_of_their_slots() -> None:
    """A HashSet of 16 slots gives 16 before 1, since they are 16 apart; a larger one does not."""
    assert list(HashOrder(number_hash, [17, 1, 16, 3])) == [16, 17, 1, 3]
    assert list(HashOrder(number_hash, [17, 1, 16, 3], capacity=32)) == [1, 3, 16, 17]
    grown = HashOrder(number_hash, [17, 1, *range(2, 16)])
    assert list(grown) == [*range(1, 16), 17]


def test_compute_puts_before_what_shares_its_slot() -> None:
    """HashMap.compute and HashMap.put differ in that, and so do the orders that follow."""
    order = HashOrder(number_hash, [1])
    order.compute(17)
    order.add(33 - 16 * 1)
    order.add(33)
    assert list(order) == [17, 1, 33]
    order.discard(1)
    assert 1 not in order
    assert len(order) == 2


def test_timeline_order_depends_on_how_many_there_ever_were() -> None:
    """Kafka's table never shrinks; what shares a slot comes out last in, first out."""
    names = [f"member-{number}" for number in range(20)]
    assert sorted(timeline_order(names, 20)) == sorted(names)
    assert timeline_order(["range", "uniform"], 2) == ["uniform", "range"], "seen at Kafka's"
    orders = {tuple(timeline_order(names, count)) for count in (4, 40, 400)}
    assert len(orders) > 1
    assert timeline_order([], 0) == []
