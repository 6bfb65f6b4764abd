"""Kafka's command line tools, many calls in one JVM, and their output without what may differ."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from typing import NamedTuple

from tests.interop import jvm, toolchain
from tests.interop.members.clients import PROGRAMS
from tests.interop.node import ASKED_NODE_ID, OTHER_NODE_IDS

GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
CALL_WAIT_S = 60

# A member id of Kafka's (client id, then a UUID), or of a client's own (22 letters of base 64).
MEMBER = re.compile(r"\b[\w.]+(?:-[\w.]+)*-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
UUID = re.compile(r"(?<=\s)[\w+/-]{22}(?=\s)")
ADDRESS = re.compile(r"127\.0\.0\.1:\d+")
# Of three nodes another may coordinate a group than the one that has the id of Kafka's broker.
ANOTHER = re.compile(rf"(?<=ADDRESS )\((?:{'|'.join(map(str, OTHER_NODE_IDS))})\)")
# What Java's clients log, where in its code an error arose, and how we catch a tool's end.
UNWANTED = re.compile(r"\d\d:\d\d:\d\d\.\d{3} \[|at [\w.$/]+\(|at java\.base/|Tools\$Ended|null$")


class Printed(NamedTuple):
    """What came of a call of a tool."""

    status: int
    text: str

    def lines(self) -> list[str]:
        """Return its lines, sorted, spaces made one, without what differs from run to run."""
        text = ADDRESS.sub("ADDRESS", UUID.sub("MEMBER", MEMBER.sub("MEMBER", self.text)))
        lines = (" ".join(line.split()) for line in text.splitlines())
        lines = (ANOTHER.sub(f"({ASKED_NODE_ID})", line) for line in lines)
        return sorted(line for line in lines if line and not UNWANTED.match(line))


class Tools:
    """One JVM that runs tools, one call at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Take the process of `Tools.java`."""
        self._process = process

    def run(self, tool: str, *arguments: str) -> Printed:
        """Run a tool to its end; one that takes longer than CALL_WAIT_S ends the JVM.

        Raises:
            EOFError: the JVM ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([tool, *arguments]) + "\n")
        self._process.stdin.flush()
        guard = threading.Timer(CALL_WAIT_S, self._process.kill)
        guard.start()
        try:
            line = self._process.stdout.readline()
        finally:
            guard.cancel()
        if not line:
            raise EOFError(f"{tool} {' '.join(arguments)} ended the JVM, or hung")
        answer = json.loads(line)
        return Printed(answer["status"], answer["printed"])


@contextlib.contextmanager
def tools() -> Iterator[Tools]:
    """Start the JVM, and end it."""
    classes = toolchain.java_build(PROGRAMS / "tools")
    command = jvm.java("Tools", heap="256m")
    command[command.index("-cp") + 1] += f":{classes}"
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield Tools(process)
        finally:
            process.kill()
