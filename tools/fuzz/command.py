"""`mesh fuzz`: flags in, one line or document per port out, and status 1 for a finding."""

from __future__ import annotations

import ipaddress
import json
import secrets
import sys
from pathlib import Path

import click

from mesh.node.options import Address, parse_address
from tools.errors import CommandError, Exit
from tools.fuzz.gossip import NAME as GOSSIP
from tools.fuzz.gossip import hunt_gossip, replay_gossip
from tools.fuzz.hunt import PORTS, Finding, Outcome, hunt, replay

FRAMES = 1_000_000
SECONDS_MAX = 1_800
HEX_SHOWN_MAX = 64 << 10
"""Characters of a finding's frames on the screen; all are in the file that is named."""


def _loopback(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> Address | None:
    """Take an address of this machine's loopback, and no other."""
    if text is None:
        return None
    try:
        address = parse_address(text)
        host = "127.0.0.1" if address.host == "localhost" else address.host
        is_loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not is_loopback:
        raise click.BadParameter(f"{text} is no loopback address; others are never fuzzed")
    return Address(host, address.port)


@click.command(
    epilog="""\b
Examples:
  mesh fuzz                                a million frames, against a node of its own
  mesh fuzz --seed 7 --frames 50000        the same frames each time
  mesh fuzz --port admin                   only HTTP and bare lines to the admin port
  mesh fuzz --port link                    frames of links between nodes
  mesh fuzz --port gossip                  a million datagrams and frames of members
  mesh fuzz --seed 7 --first-batch 12      begin where a finding was made
  mesh fuzz --replay found.hex             send what a finding wrote down
  mesh fuzz --against 127.0.0.1:9192       a node that runs here, and holds nothing of value

\b
Frames are requests of every API and version that are served, with bits flipped, bytes cut out or
put in, lengths and counts that lie, pieces of others, or no requests at all; the admin port gets
mangled HTTP, the control socket mangled JSON, the peer port mangled frames (and, as `link`, links
of nodes that it lets in), and the membership machine mangled datagrams, frames and answers. After
each batch a client that behaves must be served, all that was ever acknowledged to it must be
there, and the node's memory, open files and log must not have grown. The first that fails ends
the hunt with status 1; its frames are tried on fresh nodes until few are left.
"""
)
@click.option("--frames", type=click.IntRange(1), default=FRAMES, show_default=True)
@click.option("--seed", type=click.IntRange(0), help="Of all random numbers. [drawn, and told]")
@click.option(
    "--port",
    "name",
    type=click.Choice([*PORTS, GOSSIP, "all"]),
    default="all",
    show_default=True,
    help="Which of the node's ports; gossip is its membership, in this process.",
)
@click.option(
    "--seconds",
    type=click.IntRange(1),
    default=SECONDS_MAX,
    show_default=True,
    help="Bound on each port's time; a hunt that it cuts short says so.",
)
@click.option("--first-batch", type=click.IntRange(0), default=0, help="Begin there. [0]")
@click.option(
    "--against",
    metavar="HOST:PORT",
    callback=_loopback,
    help="A node on a loopback address; its topics and settings will suffer. [one of its own]",
)
@click.option(
    "--replay",
    "replayed",
    metavar="FILE",
    help="Send these frames, one connection a line in hex, to a node of its own.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document per port on stdout.")
def fuzz(
    *,
    frames: int,
    seed: int | None,
    name: str,
    seconds: int,
    first_batch: int,
    against: Address | None,
    replayed: str | None,
    as_json: bool,
) -> int:
    """Send a node what no client sends, and see whether it lives with it."""
    if replayed is not None:
        return _replay(replayed, name)
    seed = secrets.randbelow(1 << 31) if seed is None else seed
    if against is not None and name not in ("all", "kafka"):
        raise click.UsageError(f"--port {name} is only for a node of its own, without --against")
    names = [name] if name != "all" else ["kafka"] if against else [*PORTS, GOSSIP]
    found = False
    for one in names:
        outcome = _hunt(one, seed, frames, seconds, against, first_batch)
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", err=True, nl=False)
        click.echo(json.dumps(document(outcome)) if as_json else line(outcome))
        if outcome.finding is not None:
            found = True
            if not as_json:
                _tell(outcome.finding, one)
    return Exit.INTERNAL if found else Exit.OK


def _hunt(
    name: str, seed: int, frames: int, seconds: int, against: Address | None, first_batch: int
) -> Outcome:
    if name == GOSSIP:
        return hunt_gossip(
            seed, frames, seconds_max=seconds, first_batch=first_batch, progress=_show_progress
        )
    return hunt(
        PORTS[name],
        seed,
        frames,
        seconds_max=seconds,
        against=against,
        first_batch=first_batch,
        progress=_show_progress,
    )


def line(outcome: Outcome) -> str:
    """Return what a hunt did and saw, for people."""
    sent = outcome.sent
    words = [
        f"{outcome.port}: {sent.frames:,} frames over {sent.connections:,} connections",
        f"{sent.answers:,} answers, {outcome.seconds:,.0f} s",
    ]
    first, last = outcome.first, outcome.last
    if first is not None and last is not None:
        words.append(
            f"memory {first.rss_bytes / 1e6:.1f} to {last.rss_bytes / 1e6:.1f} MB "
            f"(most {outcome.most_bytes / 1e6:.1f}), "
            f"open files {first.descriptors} to {last.descriptors}, {last.log_lines:,} log lines"
        )
    if outcome.finding is not None:
        words.append("SOMETHING IS WRONG")
    elif outcome.is_complete:
        words.append("nothing found")
    else:
        words.append(f"CUT by the time of {outcome.frames_wanted:,}; nothing found so far")
    return "; ".join(words) + f" (seed {outcome.seed})"


def document(outcome: Outcome) -> dict[str, object]:
    """Return what a hunt did and saw, for programs."""
    first, last, finding = outcome.first, outcome.last, outcome.finding
    return {
        "format": 1,
        "port": outcome.port,
        "seed": outcome.seed,
        "frames": outcome.sent.frames,
        "frames_wanted": outcome.frames_wanted,
        "complete": outcome.is_complete,
        "connections": outcome.sent.connections,
        "answers": outcome.sent.answers,
        "seconds": round(outcome.seconds, 1),
        "rss_bytes_first": first and first.rss_bytes,
        "rss_bytes_last": last and last.rss_bytes,
        "rss_bytes_most": outcome.most_bytes or None,
        "descriptors_first": first and first.descriptors,
        "descriptors_last": last and last.descriptors,
        "log_lines": last and last.log_lines,
        "finding": finding
        and {
            "what": finding.what,
            "batch": finding.batch,
            "bursts": [b"".join(burst).hex() for burst in finding.bursts],
        },
    }


def _show_progress(outcome: Outcome) -> None:
    if sys.stderr.isatty():
        rate = outcome.sent.frames / max(outcome.seconds, 1e-3)
        text = f"{outcome.port}: {outcome.sent.frames:,} frames, {rate:,.0f} frames/s"
        click.echo(f"\r\x1b[K{text}", err=True, nl=False)


def _tell(finding: Finding, port: str) -> None:
    click.echo(f"  what    {finding.what}")
    click.echo(
        f"  again   mesh fuzz --port {port} --seed {finding.seed} --first-batch {finding.batch}"
    )
    if not finding.bursts:
        click.echo("  frames  a fresh node was not seen to mind this batch alone")
        return
    frames = sum(map(len, finding.bursts))
    text = "".join(f"{b''.join(burst).hex()}\n" for burst in finding.bursts)
    click.echo(f"  frames  {frames} over {len(finding.bursts)} connections, one a line:")
    if len(text) > HEX_SHOWN_MAX:
        path = Path(f"fuzz-{port}-{finding.seed}-{finding.batch}.hex")
        path.write_text(text)
        click.echo(f"  in {path}")
    else:
        click.echo(text, nl=False)


def _replay(path: str, name: str) -> int:
    try:
        lines = Path(path).read_text("ascii").split()
        bursts = [[bytes.fromhex(line)] for line in lines]
    except OSError as error:
        wrong = f"{path} cannot be read: {error.strerror}"
        raise CommandError(wrong, status=Exit.USAGE) from error
    except (ValueError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} is not lines of hex", status=Exit.USAGE) from error
    if name == GOSSIP:
        what = replay_gossip(bursts)
    else:
        what = replay(PORTS["kafka" if name == "all" else name], bursts)
    click.echo("nothing found" if what is None else f"SOMETHING IS WRONG: {what}")
    return Exit.OK if what is None else Exit.INTERNAL
