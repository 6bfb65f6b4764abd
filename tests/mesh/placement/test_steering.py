"""When the map is computed anew."""

from mesh.placement import (
    Node,
    NodesSeen,
    PartitionsChanged,
    PlaceTopic,
    Recompute,
    Steering,
    TopicCreating,
    Woken,
)

A, B, C, D = (Node(n) for n in range(1, 5))


def a_steering(*nodes: Node, replicas_max: int = 3) -> Steering:
    """One that has seen these, and computed."""
    steering = Steering()
    steering.on(PartitionsChanged(replicas_max), 0)
    steering.on(NodesSeen(nodes), 0)
    steering.on(Woken(), 100_000)
    assert steering.wake_at_ms is None
    return steering


def test_a_view_must_be_still_for_two_seconds() -> None:
    """Each change begins the wait anew; then all of them are one computation."""
    steering = a_steering(A, B, C)
    assert steering.on(NodesSeen((A, B, C, D)), 200_000) == []
    assert steering.on(NodesSeen((A, B, D)), 201_500) == []
    assert steering.wake_at_ms == 203_500
    assert steering.on(Woken(), 203_499) == []
    assert steering.on(Woken(), 203_500) == [Recompute((A, B, D))]
    assert steering.wake_at_ms is None


def test_what_is_no_change_begins_nothing() -> None:
    """The same nodes in another order, and a wake-up that nobody asked for, do nothing."""
    steering = a_steering(A, B, C)
    assert steering.on(NodesSeen((C, A, B)), 200_000) == []
    assert steering.wake_at_ms is None
    assert steering.on(Woken(), 300_000) == []


def test_a_view_that_is_never_still_is_computed_all_the_same() -> None:
    """A node that comes and goes every second holds it up for 20 s, not for ever."""
    steering = a_steering(A, B, C)
    computed = []
    for second in range(201, 245):
        nodes = (A, B, C, D) if second % 2 else (A, B, C)
        assert steering.on(NodesSeen(nodes), second * 1000) == []
        due = steering.wake_at_ms
        assert due is not None
        if due <= second * 1000 + 999:
            computed += [(due, *steering.on(Woken(), due))]
    assert [due for due, _ in computed] == [221_000, 242_000]


def test_a_young_mesh_places_at_once_until_it_has_enough() -> None:
    """While replicas are missing each node that joins is used at once; the fourth can wait."""
    steering = a_steering(A)
    assert steering.on(NodesSeen((A, B)), 200_000) == [Recompute((A, B))]
    assert steering.on(NodesSeen((A, B, C)), 200_001) == [Recompute((A, B, C))]
    assert steering.on(NodesSeen((A, B, C, D)), 200_002) == []
    assert steering.wake_at_ms == 202_002


def test_a_node_lost_is_waited_for() -> None:
    """Who left a small mesh may be back in a moment: nothing at once; its return is at once."""
    steering = a_steering(A, B, C)
    assert steering.on(NodesSeen((A, B)), 200_000) == []
    assert steering.on(Woken(), 202_000) == [Recompute((A, B))]
    assert steering.on(NodesSeen((A, B, C)), 210_000) == [Recompute((A, B, C))]


def test_a_drained_node_is_none_that_a_young_mesh_waits_for() -> None:
    """A node of weight 0 could hold nothing, so nothing is computed at once for it."""
    steering = a_steering(A, B)
    assert steering.on(NodesSeen((A, B, C._replace(weight=0))), 200_000) == []


def test_a_topic_is_placed_at_once_and_takes_its_place_later() -> None:
    """Who asked for it waits; the whole map follows when all is still."""
    steering = a_steering(A, B, C)
    assert steering.on(TopicCreating("orders"), 200_000) == [PlaceTopic("orders", (A, B, C))]
    assert steering.wake_at_ms == 202_000
    assert steering.on(Woken(), 202_000) == [Recompute((A, B, C))]
