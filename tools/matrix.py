"""Who reaches whom, drawn: a row for each member, with a column for each.

    from to  1  2  3
    1        .  +  +
    2        +  .  x
    3        +  +  .

What does not fit is cut down to the members that something is wrong with. Only ASCII: it is read in
logs and tickets, too.
"""

from __future__ import annotations

from tools.view import View

SELF, REACHED, NOT_REACHED, UNKNOWN, GONE = ".", "+", "x", "?", "-"
LEGEND = "+ reached  x not reached  ? nobody knows  - dead or left"
HEAD = "from to"


def matrix_lines(view: View, width: int, height: int) -> list[str]:
    """Return the matrix in lines of so many columns at most; nothing of a mesh of one.

    Args:
        view: what is drawn.
        width: columns, at least 40.
        height: lines, for all of it; without room for even the smallest matrix it is a sentence.
    """
    count = len(view.reach)
    if count < 2:
        return []
    live = [place for place, node in enumerate(view.nodes) if node.state in ("alive", "suspect")]
    wrong = [
        (row, column)
        for row in live
        for column in live
        if row != column and view.reach[row][column] is False
    ]
    if not wrong and len(live) == count and not _fits(view, range(count), width, height):
        return ["each member reaches every other one"]
    for shown in (list(range(count)), sorted({place for pair in wrong for place in pair})):
        if shown and _fits(view, shown, width, height):
            return _draw(view, shown, all_shown=len(shown) == count)
    if not wrong:
        return ["each live member reaches every other one"]
    text = f"{len(wrong):,} pairs of members do not reach each other, of {len(live):,} members"
    return [text[:width]]


def _fits(view: View, shown: range | list[int], width: int, height: int) -> bool:
    cell = 1 + max(len(str(view.nodes[place].node_id)) for place in shown)
    return len(HEAD) + 1 + cell * len(shown) <= width and len(shown) + 2 <= height


def _draw(view: View, shown: list[int], *, all_shown: bool) -> list[str]:
    ids = {place: str(view.nodes[place].node_id) for place in shown}
    cell = 1 + max(map(len, ids.values()))
    lines = [f"{HEAD:<{len(HEAD) + 1}}" + "".join(f"{ids[column]:>{cell}}" for column in shown)]
    for row in shown:
        cells = "".join(f"{_symbol(view, row, column):>{cell}}" for column in shown)
        lines.append(f"{ids[row]:<{len(HEAD) + 1}}{cells}")
    lines.append(LEGEND if all_shown else f"{LEGEND}; the others reach one another")
    return lines


def _symbol(view: View, row: int, column: int) -> str:
    if row == column:
        return SELF
    if view.nodes[column].state in ("dead", "left"):
        return GONE
    reached = view.reach[row][column]
    if reached is None:
        return UNKNOWN
    return REACHED if reached else NOT_REACHED
