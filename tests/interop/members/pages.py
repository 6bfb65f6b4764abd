"""`python -m tests.interop.members.pages`: what Kafka's tools print of Kafka, kept in a file.

Tools and judge are of one version, so what the judge makes them print does not change by itself:
`pages.json` is written by this command, and a node of ours is held against it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.interop.members.brokers import BROKERS, broker
from tests.interop.members.reading_tools import (
    play_consoles,
    play_formatters,
    play_performance,
    play_verifiable,
)
from tests.interop.members.scene import Pages, Scene, play_classic, play_consumer, play_simple
from tests.interop.members.tools import Tools, tools

FILE = Path(__file__).parent / "pages.json"

PLAYS: dict[str, Callable[[Scene], None]] = {
    "simple": play_simple,
    "classic": play_classic,
    "consumer": play_consumer,
    "consoles": play_consoles,
    "performance": play_performance,
    "verifiable": play_verifiable,
}
FORMATTERS = "formatters"
"""Looks into the broker's files, too."""

NAMES = (*PLAYS, FORMATTERS)


def play(kind: str, name: str, shared: Tools) -> Pages:
    """Play one part to a broker of its own."""
    with (
        broker(kind) as running,
        tempfile.TemporaryDirectory(prefix="group-tools-") as directory,
    ):
        scene = Scene(running.bootstrap, shared, Path(directory))
        if name == FORMATTERS:
            play_formatters(scene, running.log_directory)
        else:
            PLAYS[name](scene)
        return scene.pages


def main(arguments: Sequence[str]) -> None:
    """Write what Kafka's broker makes the tools print, or `show mesh PART ...` what ours does."""
    match list(arguments):
        case ["write", *names]:
            pages = json.loads(FILE.read_text()) if names else {}
            with tools() as shared:
                pages |= {name: play("jvm", name, shared) for name in names or NAMES}
            FILE.write_text(json.dumps(pages, indent=1) + "\n")
        case ["show", kind, *names] if kind in BROKERS:
            with tools() as shared:
                for name in names or NAMES:
                    for label, lines in play(kind, name, shared).items():
                        print(f"{name}: {label}", *lines, sep="\n    ", flush=True)
        case _:
            sys.exit("say write [PART ...], or show mesh|jvm [PART ...]")


if __name__ == "__main__":
    main(sys.argv[1:])
