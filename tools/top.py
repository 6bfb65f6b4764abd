"""`mesh top`: what a node does, drawn anew every second."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from types import FrameType

import click

from mesh.node.options import Address
from tools.admin import UnreachableError, admin_address, admin_option, fetch_view
from tools.errors import Exit
from tools.screen import picture, screen_lines
from tools.view import View

REDRAW_S = 1.0
HINT = "q leaves"
PLAIN_WIDTH_MIN, PLAIN_LINES = 80, 40


@click.command(
    epilog="""\b
Examples:
  mesh top
  mesh top --admin 10.0.0.7:9094
  mesh top | head -20

\b
q or Ctrl-C leaves. Without a terminal it tells one second, in plain lines, and ends.
"""
)
@admin_option
def top(*, admin: str) -> int:
    """Show live what a node does: rates, latency, topics by traffic, what happened."""
    address = admin_address(admin)
    first = fetch_view(address)
    if not sys.stdout.isatty():
        time.sleep(REDRAW_S)
        width = max(shutil.get_terminal_size().columns, PLAIN_WIDTH_MIN)
        for line, _ in screen_lines(first, fetch_view(address), width, PLAIN_LINES):
            click.echo(line.rstrip())
        return Exit.OK
    watch([address], first, HINT)
    return Exit.OK


def watch(addresses: list[Address], first: View, hint: str) -> None:
    """Draw what a node tells until q, Ctrl-C or SIGTERM; where one is away, ask the next.

    Args:
        addresses: admin ports of nodes of one mesh; the first is asked as long as it answers.
        first: what was told last.
        hint: what stands in a corner.
    """
    with contextlib.suppress(KeyboardInterrupt), _keys():
        _show(addresses, first, hint)


def _show(addresses: list[Address], first: View, hint: str) -> None:
    """Draw until q is pressed; while no node answers, say so and wait for one."""
    from rich.live import Live
    from rich.text import Text

    before: View | None = None
    now = first
    with Live(screen=True, auto_refresh=False) as live:
        while True:
            size = live.console.size
            live.update(picture(before, now, size.width, size.height, hint), refresh=True)
            while True:
                if _pressed_q(REDRAW_S):
                    return
                try:
                    fresh = _first_answer(addresses)
                except UnreachableError as error:
                    live.update(Text(f"{error.wrong}\n{hint}", style="red"), refresh=True)
                else:
                    # Numbers of two nodes make no rates.
                    before = now if now.here.node_id == fresh.here.node_id else None
                    now = fresh
                    break


def _first_answer(addresses: list[Address]) -> View:
    """Return what the first node that answers tells. Raises UnreachableError if none does."""
    for address in addresses[:-1]:
        with contextlib.suppress(UnreachableError):
            return fetch_view(address)
    return fetch_view(addresses[-1])


def _pressed_q(wait_s: float) -> bool:
    """Wait so long for a key; says whether one was q. A closed stdin has no keys."""
    deadline = time.monotonic() + wait_s
    while (left_s := deadline - time.monotonic()) > 0:
        if not sys.stdin.isatty():
            time.sleep(left_s)
        elif select.select([sys.stdin], [], [], left_s)[0]:
            keys = os.read(sys.stdin.fileno(), 64)
            if not keys or b"q" in keys.lower():
                return True
    return False


@contextlib.contextmanager
def _keys() -> Iterator[None]:
    """Have keys arrive one by one and unechoed; SIGTERM ends like Ctrl-C, terminal restored."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, leave)
    mode = termios.tcgetattr(sys.stdin) if sys.stdin.isatty() else None
    try:
        if mode is not None:
            tty.setcbreak(sys.stdin)
        yield
    finally:
        if mode is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, mode)
        signal.signal(signal.SIGTERM, earlier)
