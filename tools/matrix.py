"""Who reaches whom, drawn: a row for each member, with a column for each.

    from to  1  2  3
    1        .  +  +
    2        +  .  x
    3        +  +  .

What does not fit is cut down to the members that something is wrong with. Only ASCII: it is read in
logs and tickets, too.
"""

from __future__ import annotations

import textwrap

from tools.view import View

SELF, REACHED, NOT_REACHED, UNKNOWN, GONE = ".", "+", "x", "?", "-"
LEGEND = "+ reached  x not reached  ? nobody knows  - dead or left"
HEAD = "from to"


def matrix_lines(view: View, width: int, height: int) -> list[str]:
    """Return the matrix in lines of so many columns at most; nothing of a mesh of one.

    Args:
        view: what is drawn.
        width: columns, at least 40.
        height: lines, legend included; without room for even the smallest matrix it is a sentence.
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
    doubted = any(view.nodes[place].state == "suspect" for place in live)
    for shown in (list(range(count)), sorted({place for pair in wrong for place in pair})):
        if 0 < len(shown) < height:  # Of a thousand nothing is drawn in vain.
            lines = _draw(view, shown, width)
            if len(lines) <= height and max(map(len, lines)) <= width:
                return lines
    if wrong:
        text = f"{len(wrong):,} pairs of members do not reach each other, of {len(live):,} members"
        return [text[:width]]
    if not doubted and len(live) == count:
        return ["each member reaches every other one"]
    return [f"each live member {'that answers ' if doubted else ''}reaches every other one"]


def _draw(view: View, shown: list[int], width: int) -> list[str]:
    ids = {place: str(view.nodes[place].node_id) for place in shown}
    cell = 1 + max(map(len, ids.values()))
    lines = [f"{HEAD:<{len(HEAD) + 1}}" + "".join(f"{ids[column]:>{cell}}" for column in shown)]
    for row in shown:
        cells = "".join(f"{_symbol(view, row, column):>{cell}}" for column in shown)
        lines.append(f"{ids[row]:<{len(HEAD) + 1}}{cells}")
    all_shown = len(shown) == len(view.reach)
    legend = LEGEND if all_shown else f"{LEGEND}; the others reach one another"
    return lines + textwrap.wrap(legend, width)


def _symbol(view: View, row: int, column: int) -> str:
    if row == column:
        return SELF
    if view.nodes[column].state in ("dead", "left"):
        return GONE
    reached = view.reach[row][column]
    if reached is None:
        return UNKNOWN
    return REACHED if reached else NOT_REACHED
