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
    with contextlib.suppress(KeyboardInterrupt), _keys():
        _show(address, first)
    return Exit.OK


def _show(address: Address, first: View) -> None:
    """Draw until q is pressed; while the node is away, say so and wait for it."""
    from rich.live import Live
    from rich.text import Text

    before: View | None = None
    now = first
    with Live(screen=True, auto_refresh=False) as live:
        while True:
            size = live.console.size
            live.update(picture(before, now, size.width, size.height, HINT), refresh=True)
            while True:
                if _pressed_q(REDRAW_S):
                    return
                try:
                    before, now = now, fetch_view(address)
                except UnreachableError as error:
                    live.update(Text(f"{error.wrong}\n{HINT}", style="red"), refresh=True)
                else:
                    break


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
