"""The JVM Kafka broker 4.3.1 as a real process, and its command line tools.

The jars are Apache Kafka's own, resolved by Maven at first use into the git-ignored `.cache/` of
this repository; later runs need no network. One broker is a single KRaft node (broker and
controller in one process) on ports that were free, with all its data in a temporary directory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.interop.process import BrokerError, end, free_port, tail, wait_until_ready

KAFKA_VERSION = "4.3.1"
JARS = Path(__file__).parents[2] / ".cache" / f"kafka-{KAFKA_VERSION}"
CLUSTER_ID = "Z29zc2FtZXItaW50ZXJvcA"

# slf4j-simple: the broker's warnings on its standard error, without a log4j configuration.
ARTIFACTS = (
    ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
    ("org.apache.kafka", "kafka-tools", KAFKA_VERSION),
    ("org.slf4j", "slf4j-simple", "1.7.36"),
)

QUIET = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)
START_WAIT_S = 60
STOP_WAIT_S = 20
TOOL_WAIT_S = 120


def missing() -> str | None:
    """Return why no JVM broker can run here, or None."""
    if shutil.which("java") is None:
        return "java is not installed"
    if not (JARS / "complete").exists() and shutil.which("mvn") is None:
        return "mvn is not installed and the Kafka jars were never fetched"
    return None


def class_path() -> str:
    """Return the class path of broker, tools and clients; Maven fetches the jars at first use.

    Raises:
        BrokerError: Maven cannot resolve them.
    """
    if not (JARS / "complete").exists():
        _fetch()
    return f"{JARS}/*"


def _fetch() -> None:
    dependencies = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version></dependency>"
        for group, artifact, version in ARTIFACTS
    )
    pom = (
        "<project><modelVersion>4.0.0</modelVersion>"
        "<groupId>none</groupId><artifactId>none</artifactId><version>0</version>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )
    with tempfile.TemporaryDirectory(prefix="kafka-jars-") as directory:
        (Path(directory) / "pom.xml").write_text(pom)
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"]
        result = subprocess.run(
            [*command, f"-DoutputDirectory={JARS}"],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    if result.returncode != 0:
        raise BrokerError(f"mvn cannot resolve Kafka's jars:\n{result.stdout[-2000:]}")
    # Written last, so that an interrupted fetch is repeated.
    (JARS / "complete").write_text("\n".join(":".join(a) for a in ARTIFACTS) + "\n")


def java(*arguments: str, heap: str = "512m") -> list[str]:
    """Return the command line of a quiet JVM with Kafka's jars; arguments begin with a class."""
    options = [f"-Xmx{heap}", "-XX:+UseSerialGC", "-Xshare:auto", "-Djava.awt.headless=true"]
    return ["java", *options, *QUIET, "-cp", class_path(), *arguments]


def run_tool(
    tool: str, *arguments: str, input_text: str | None = None, wait_s: int = TOOL_WAIT_S
) -> subprocess.CompletedProcess[str]:
    """Run one of Kafka's tools to its end, for example `org.apache.kafka.tools.TopicCommand`.

    The exit status is the caller's to judge. Raises subprocess.TimeoutExpired after wait_s.
    """
    command = java(tool, *arguments)
    # A tool ends before the optimising compiler pays: a third less of the processor.
    command.insert(1, "-XX:TieredStopAtLevel=1")
    return subprocess.run(
        command,
        input=input_text,
        capture_output=True,
        text=True,
        timeout=wait_s,
        check=False,
    )


@dataclass(slots=True)
class JvmBroker:
    """A running JVM broker."""

    bootstrap: str
    """`127.0.0.1:PORT` of its client listener."""
    log_directory: Path
    """Its `log.dirs`: `<topic>-<partition>` directories are inside."""
    output: Path
    """What it printed."""
    process: subprocess.Popen[bytes]
    config: Path
    """Its properties file."""

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    @property
    def port(self) -> int:
        """Port of its client listener."""
        return int(self.bootstrap.rpartition(":")[2])

    def stop(self) -> None:
        """End it, by its process id; harmless if it has ended."""
        end(self.process, STOP_WAIT_S)

    def kill(self) -> None:
        """End it as `kill -9` does, which takes no time however many topics it has."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start it again on what it left, in good order or not; return once it answers.

        Raises:
            BrokerError: it did not start within START_WAIT_S.
        """
        self.kill()
        self.process = _launch(self.config, self.output)
        wait_until_ready(self.process, self.port, self.output, START_WAIT_S)


def properties(directory: Path, port: int, overrides: Mapping[str, object]) -> dict[str, str]:
    """Return the broker's configuration: Kafka's defaults, cut to one node and a small machine."""
    controller = free_port()
    plain: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": directory / "data",
        # One node holds everything.
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # 50 partitions each are slow to create and change no answer.
        "offsets.topic.num.partitions": 3,
        "transaction.state.log.num.partitions": 3,
        "share.coordinator.state.topic.num.partitions": 3,
        "group.initial.rebalance.delay.ms": 0,
        # A group's members come and go within a second or not, as the machine's load has it.
        "group.consumer.assignment.interval.ms": 0,
        # The cleaner's default buffer is a quarter of our heap.
        "log.cleaner.dedupe.buffer.size": 8 << 20,
    }
    # Overrides come as keyword arguments: log_segment_bytes=1 << 20 is log.segment.bytes.
    named = {name.replace("_", "."): value for name, value in overrides.items()}
    return {name: str(value) for name, value in {**plain, **named}.items()}


def _run_format(config: Path) -> None:
    result = run_tool(
        "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config", str(config)
    )
    if result.returncode != 0:
        raise BrokerError(f"StorageTool format failed:\n{result.stdout}\n{result.stderr[-2000:]}")


def _launch(config: Path, output: Path) -> subprocess.Popen[bytes]:
    with output.open("ab") as sink:
        return subprocess.Popen(
            java("kafka.Kafka", str(config)),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=config.parent,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )


def start(directory: Path, overrides: Mapping[str, object] | None = None) -> JvmBroker:
    """Format an empty directory and start a broker on it; return once it answers.

    Raises:
        BrokerError: it did not start within START_WAIT_S.
    """
    port = free_port()
    config, output = directory / "server.properties", directory / "output.txt"
    lines = properties(directory, port, overrides or {})
    config.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    _run_format(config)
    process = _launch(config, output)
    wait_until_ready(process, port, output, START_WAIT_S)
    return JvmBroker(f"127.0.0.1:{port}", directory / "data", output, process, config)


@contextlib.contextmanager
def jvm_broker(**overrides: object) -> Iterator[JvmBroker]:
    """Run a JVM broker on a temporary directory; underscores of an override become dots."""
    with tempfile.TemporaryDirectory(prefix="jvm-broker-", ignore_cleanup_errors=True) as temporary:
        broker = start(Path(temporary), overrides)
        try:
            yield broker
        finally:
            broker.kill()  # Its data goes with it.


def main(arguments: Sequence[str]) -> None:
    """Run a broker until interrupted; arguments are `name=value` properties."""
    settings = dict(argument.split("=", 1) for argument in arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Or Java would outlive us.
    with jvm_broker(**settings) as broker:
        print(f"{broker.bootstrap} pid {broker.pid}", flush=True)
        try:
            broker.process.wait()
        except KeyboardInterrupt:
            return
        print(tail(broker.output))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
