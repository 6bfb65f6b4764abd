"""The bounds that are explored, and what came of them."""

from __future__ import annotations

from tests.mesh.replication.explore import Bound, Explorer

QUICK = (
    Bound(
        promises=True,
        name="refusals, high watermarks and a crash",
        epochs=1,
        entries=1,
        crashes=1,
        resends=False,
    ),
    Bound(promises=True, name="two leaders", epochs=2, entries=1, quiet=True),
    Bound(
        promises=True,
        name="a slow journal",
        epochs=1,
        entries=1,
        quiet=True,
        slow_journal=True,
        resends=False,
    ),
)
"""For `make test`."""

LONG = (
    Bound(
        promises=True,
        name="claims: one voter and a member that remembers, an old disk",
        voters=1,
        witnesses=1,
        epochs=3,
        entries=3,
        crashes=1,
        old_disks=1,
        claims=True,
    ),
    Bound(
        promises=True,
        name="two voters, an old disk",
        voters=2,
        epochs=2,
        entries=1,
        old_disks=1,
        quiet=True,
        resends=False,
    ),
    Bound(
        promises=True,
        name="a disk is wiped, and its new replica takes its place",
        voters=2,
        epochs=1,
        entries=1,
        wipes=1,
        adoptions=1,
        reconfigurations=2,
        quiet=True,
        resends=False,
    ),
    Bound(
        promises=True,
        name="two leaders, a voter changed, a crash",
        voters=2,
        epochs=2,
        entries=1,
        crashes=1,
        reconfigurations=1,
        quiet=True,
        resends=False,
    ),
    Bound(
        promises=True,
        name="leave, tombstone, record, taken in again",
        epochs=1,
        entries=1,
        reconfigurations=1,
        adoptions=1,
        quiet=True,
        resends=False,
    ),
    Bound(
        promises=True,
        name="a voter without state at first",
        late=True,
        epochs=2,
        entries=1,
        quiet=True,
        resends=False,
        reconfigurations=1,
    ),
    Bound(
        promises=True,
        name="memory mode, two machines lost",
        voters=2,
        epochs=2,
        entries=1,
        memory=True,
        unclean=2,
        quiet=True,
        resends=False,
    ),
    Bound(
        promises=True,
        name="memory mode, a machine lost; it may begin in the other mode",
        epochs=2,
        entries=1,
        memory=True,
        unclean=1,
        switches=True,
        quiet=True,
        resends=False,
    ),
    Bound(
        promises=True,
        name="one leader, a voter removed or added, and ordered to leave",
        epochs=1,
        entries=1,
        quiet=True,
        resends=False,
        reconfigurations=1,
    ),
    Bound(
        promises=True,
        name="two leaders, a voter removed or added, and ordered to leave",
        epochs=2,
        entries=1,
        quiet=True,
        resends=False,
        reconfigurations=1,
    ),
    Bound(
        promises=True,
        name="two leaders, two entries",
        epochs=2,
        entries=2,
        quiet=True,
        resends=False,
    ),
    Bound(
        promises=True,
        name="two leaders, a crash",
        epochs=2,
        entries=1,
        quiet=True,
        crashes=1,
        resends=False,
    ),
)
"""For the slow tests and the command. Two voters where three are too many states to see all: with
two, both are needed for everything, so that whatever one of them forgets shows at once."""


def report(bound: Bound) -> tuple[str, bool]:
    """Explore it; return a line about it, and whether all was seen and nothing broken."""
    explorer = Explorer(bound)
    states, complete, broken = explorer.run()
    missed = [] if broken or not complete else explorer.missed()
    limits = (
        f"{bound.voters} voters, {bound.epochs} epochs, {bound.entries} entries, "
        f"{bound.crashes} crashes, {bound.reconfigurations} changes of voters"
    )
    line = f"{bound.name} ({limits}): {states:,} states, {'complete' if complete else 'cut'}"
    if broken is not None:
        story = "\n  ".join(broken.steps)
        line = f"{bound.name} ({limits}): BROKEN after {states:,}: {broken.invariant}\n  {story}"
    if missed:
        line += f", but it saw {', '.join(missed)}"
    return line, complete and not missed
