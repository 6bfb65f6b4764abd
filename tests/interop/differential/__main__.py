"""`python -m tests.interop.differential`: run cases by hand, see what differs, write the page.

`say PATTERN` prints what the JVM broker answers; `twice PATTERN` compares it with itself, which
tests the masks; `ours PATTERN` compares it with a node of ours; `write` renews the page in docs/.
"""

from __future__ import annotations

import contextlib
import fnmatch
import sys
from collections.abc import Iterator

from tests.interop.differential import page
from tests.interop.differential.cases import CASES, DIFFERENCES, Case, listen, load, run
from tests.interop.differential.compare import transcript
from tests.interop.differential.talk import SetupError, warm_up
from tests.interop.jvm import jvm_broker
from tests.interop.node import mesh_node_process


def chosen(pattern: str) -> Iterator[Case]:
    """Give the cases whose name or API matches."""
    for one in CASES.values():
        if fnmatch.fnmatchcase(one.name, pattern) or fnmatch.fnmatchcase(one.api, pattern):
            yield one


def say(pattern: str, version: int | None) -> None:
    """Print the JVM broker's answers, masked, in the highest version unless one is given."""
    with jvm_broker() as kafka:
        warm_up(kafka.port)
        for one in chosen(pattern):
            used = one.versions[-1] if version is None else version
            print(f"\n== {one.name} v{used}: {one.sentence}", flush=True)
            try:
                talk = listen(one, used, kafka.port)
            except SetupError as error:
                print(f"!! {error}")
                continue
            for label, flat in transcript(talk):
                print(f"-- {label}")
                for path, value in flat.items():
                    if not path.endswith("/"):
                        print(f"   {path} = {value!r}")


def against(pattern: str, our_port: int, kafka_port: int) -> None:
    """Print every difference that is not declared."""
    warm_up(kafka_port)
    warm_up(our_port)
    for one in chosen(pattern):
        try:
            for seen in run(one, one.versions, kafka_port, our_port):
                if not any(row.explains(seen) for row in DIFFERENCES):
                    print(seen, flush=True)
        except SetupError as error:
            print(f"{one.api} {one.name}: {error}", flush=True)


def main(command: str, pattern: str = "*", version: str | None = None) -> None:
    """Run one command."""
    load()
    if command == "write":
        page.PATH.write_text(page.render())
        return
    if command == "say":
        say(pattern, None if version is None else int(version))
        return
    with contextlib.ExitStack() as stack:
        kafka = stack.enter_context(jvm_broker())
        if command == "twice":
            against(pattern, stack.enter_context(jvm_broker()).port, kafka.port)
        else:
            against(pattern, stack.enter_context(mesh_node_process()).port, kafka.port)


if __name__ == "__main__":
    main(*sys.argv[1:])
