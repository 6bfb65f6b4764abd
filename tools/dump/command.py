"""`mesh dump`: paths in, rows out, and status 4 where something is damaged."""

from __future__ import annotations

import re
import sys

import click

from storage.disk import DiskError, Missing
from storage.types import Offset
from tools.dump.directories import dump as dump_path
from tools.dump.places import kind_of
from tools.dump.rows import DAMAGED, OFFSET_END, PROBLEM, ReadingDisk, Row, Rows, Wanted
from tools.dump.show import json_lines, lines
from tools.errors import CommandError, Exit


def _offsets(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> tuple[Offset, Offset]:
    if text is None:
        return 0, OFFSET_END
    found = re.fullmatch(r"(\d{0,19})(\.\.(\d{0,19}))?", text)
    if found is None or text in ("", ".."):
        raise click.BadParameter(f"{text!r} is none of A, A.., ..B and A..B")
    begin = int(found[1] or 0)
    if found[2] is None:
        return begin, begin + 1
    end = int(found[3]) if found[3] else OFFSET_END
    if begin >= end:
        raise click.BadParameter(f"{text!r} holds no offset")
    return begin, end


@click.command(
    epilog="""\b
Examples:
  mesh dump mesh-data                       who it belongs to, its partitions and their ends
  mesh dump --verify mesh-data              look at every byte of every partition
  mesh dump mesh-data/orders-0              all files of a partition
  mesh dump --records --offset 100..110 mesh-data/orders-0/00000000000000000000.log
  mesh dump mesh-data/promises.journal      what this node promised in every group
  mesh dump mesh-data/__registry-0          a shard of the registry, record by record
  mesh dump --json mesh-data | jq           one object per line

\b
It reads and changes nothing, takes no lock, and may run beside the node. What a file is, its name
or its contents tell. Three words for what is not whole: `damaged` was on disk and is not as it was
(status 4), `torn` is the end of a write under way or cut by a crash, which the next start mends,
`repaired` has a good copy beside the bad one. What follows damage is shown as far as it is sound.
"""
)
@click.argument("paths", metavar="PATH…", nargs=-1, required=True)
@click.option("--verify", is_flag=True, help="Check sums and counts of all batches, too.")
@click.option("--records", is_flag=True, help="Show keys, values and headers, cut and escaped.")
@click.option(
    "--offset",
    "offsets",
    metavar="A..B",
    callback=_offsets,
    help="Only what holds these offsets; B is not included. A alone is one.",
)
@click.option(
    "--limit", type=click.IntRange(1), metavar="N", help="At most so many lines of each file."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def dump(
    *,
    paths: tuple[str, ...],
    verify: bool,
    records: bool,
    offsets: tuple[Offset, Offset],
    limit: int | None,
    as_json: bool,
) -> None:
    """Show what stands in the files of a data directory, and whether it is sound."""
    disk = ReadingDisk()
    wanted = Wanted(*offsets, limit=limit, records=records, verify=verify)
    damages: list[Row] = []

    def watched(rows: Rows) -> Rows:
        for row in rows:
            if row.kind == PROBLEM and row.fields["state"] == DAMAGED:
                damages.append(row)
            yield row

    for number, path in enumerate(paths):
        if number and not as_json:
            sys.stdout.write("\n")
        try:
            rows = watched(_rows(disk, path, wanted))
            for line in json_lines(rows) if as_json else lines(rows):
                sys.stdout.write(f"{line}\n")
        except DiskError as error:
            sys.stdout.flush()
            wrong = f"it cannot be read: {error}"
            raise CommandError(wrong, status=Exit.DISK, kept="nothing was changed") from error
    sys.stdout.flush()
    if damages:
        raise _damaged(damages)


def _rows(disk: ReadingDisk, path: str, wanted: Wanted) -> Rows:
    try:
        kind = kind_of(disk, path)
    except Missing as error:
        raise CommandError(f"there is no {path}", status=Exit.USAGE) from error
    if kind is None:
        raise CommandError(
            f"{path} is none of the files of a data directory",
            status=Exit.USAGE,
            do="`mesh dump --help` names those that can be shown",
        )
    return dump_path(disk, path, kind, wanted)


def _damaged(damages: list[Row]) -> CommandError:
    first = damages[0].fields
    others = f", and {len(damages) - 1} more places" if len(damages) > 1 else ""
    return CommandError(
        f"{first['file']} is damaged at byte {first['byte']}: {first['reason']}{others}",
        status=Exit.DATA,
        kept="nothing was changed; what is sound is shown above",
        do="bring the file back from a copy, or let another replica fill the partition again",
    )
