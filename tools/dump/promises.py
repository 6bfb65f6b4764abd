"""The promise journal: its rounds, the promises that they leave, and what is torn or damaged."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from storage.disk import Disk
from storage.errors import JournalDamaged, NewerFormat
from storage.promises import (
    Content,
    Copy,
    Facts,
    GroupId,
    Promise,
    Voter,
    copy_at,
    decode_journal,
    entries_of,
    next_copy,
)
from tools.dump.rows import REPAIRED, TORN, Counted, Row, Rows, Wanted, id_text, problem, read_small


@dataclass(frozen=True, slots=True)
class Seen:
    """A round of which at least one copy is sound."""

    copy: Copy
    position: int
    """Where its first copy begins, or began."""
    copies: str
    """Which are sound: both, first or second."""
    end: int


def rounds(data: bytes) -> Iterator[Seen]:
    """Yield every round that can be read, going on behind what cannot."""
    position = 0
    while position < len(data):
        first = copy_at(data, position)
        if first is not None:
            middle = position + first.size
            end = middle + first.size
            is_both = data[position:middle] == data[middle:end]
            if not is_both:
                following = next_copy(data, middle)
                if following is not None and following.position < end:
                    end = following.position
            yield Seen(first, position, "both" if is_both else "first", min(end, len(data)))
            position = end
            continue
        second = next_copy(data, position + 1)
        if second is None:
            return
        end = second.position + second.size
        if data[second.position : end] == data[end : end + second.size]:
            # Both of a later round: what stands here belongs to none.
            position = second.position
            continue
        yield Seen(second, max(position, second.position - second.size), "second", end)
        position = end


def dump_journal(disk: Disk, path: str, names: Mapping[bytes, str], wanted: Wanted) -> Rows:
    """Yield rounds, the node's facts, promises by group, and a summary.

    Args:
        disk: where it is; only read.
        path: of the journal.
        names: topics by their ids, as far as they are known.
        wanted: its limit counts for rounds and for promises.

    Raises:
        DiskError: it cannot be read.
    """
    data = read_small(disk, path)
    content, fault = _judge(path, data)
    sound_end = len(data) if fault is None else fault.position
    image = Content(Facts(b""))
    counted = Counted(wanted)
    count = 0
    for seen in rounds(data):
        count += 1
        row, is_readable = _round_row(path, seen, image if seen.position < sound_end else None)
        if counted.take():
            yield row
        if seen.copies != "both" and is_readable and fault is None:
            reason = f"one copy of round {seen.copy.number} is bad; the other is whole"
            bad = seen.copy.position + seen.copy.size if seen.copies == "first" else seen.position
            yield problem(path, bad, reason, state=REPAIRED)
    if content is not None:
        image = content
        if content.torn_bytes:
            reason = f"{content.torn_bytes} bytes of a round that was never finished"
            sound = f"all rounds up to {content.round}"
            yield problem(path, content.end, reason, state=TORN, sound=sound)
    if fault is not None:
        sound = "nothing before it" if fault.position == 0 else f"all before byte {fault.position}"
        yield problem(path, fault.position, fault.reason, sound=sound)
    yield from _image_rows(path, image, names, wanted)
    yield Row(
        "journal",
        {
            "file": path,
            "bytes": len(data),
            "rounds": count,
            "round": image.round,
            "promises": len(image.promises),
            "repaired": list(content.repaired) if content is not None else [],
            "torn_bytes": content.torn_bytes if content is not None else 0,
            "state": _state(content),
            "whole": not counted.is_cut,
        },
    )


@dataclass(frozen=True, slots=True)
class _Fault:
    position: int
    reason: str


def _judge(path: str, data: bytes) -> tuple[Content | None, _Fault | None]:
    """Ask the node's own reader."""
    try:
        return decode_journal(path, data), None
    except JournalDamaged as error:
        text = str(error).removeprefix(f"{path} is damaged: ")
        return None, _Fault(error.position, text.rpartition(" (byte")[0])
    except NewerFormat:
        return None, _Fault(0, "a later release wrote it")


def _state(content: Content | None) -> str:
    if content is None:
        return "damaged"
    words = ["repaired"] * bool(content.repaired) + ["torn"] * bool(content.torn_bytes)
    return " and ".join(words) or "sound"


def _round_row(path: str, seen: Seen, image: Content | None) -> tuple[Row, bool]:
    """Return the row of a round; let it change the image, if there is one to change."""
    copy = seen.copy
    promised = removed = 0
    has_facts = False
    is_readable = True
    try:
        for entry in entries_of(copy.body):
            if isinstance(entry, Facts):
                has_facts = True
                if image is not None:
                    image.facts = entry
                continue
            group, promise = entry
            promised += promise is not None
            removed += promise is None
            if image is not None:
                _put(image.promises, group, promise)
        if image is not None:
            image.round = copy.number
    except (struct.error, ValueError):
        is_readable = False
    fields = {
        "file": path,
        "round": copy.number,
        "byte": seen.position,
        "size": copy.size,
        "copies": seen.copies,
        "holds": "everything" if copy.kind else "changes",
        "promises": promised,
        "removed": removed,
        "facts": has_facts,
        "readable": is_readable,
    }
    return Row("round", fields), is_readable


def _put(promises: dict[GroupId, Promise], group: GroupId, promise: Promise | None) -> None:
    if promise is None:
        promises.pop(group, None)
    else:
        promises[group] = promise


def _image_rows(path: str, image: Content, names: Mapping[bytes, str], wanted: Wanted) -> Rows:
    facts = image.facts
    if facts.directory_id:
        yield Row(
            "facts",
            {
                "file": path,
                "directory_id": str(UUID(bytes=facts.directory_id)),
                "durability": "memory" if facts.memory else "disk",
                "boot_id": str(UUID(bytes=facts.boot_id)),
                "clean": facts.clean,
            },
        )
    counted = Counted(wanted)
    for (topic_id, partition), promise in sorted(image.promises.items()):
        if not counted.take():
            break
        yield Row(
            "promise",
            {
                "file": path,
                "topic": names.get(topic_id),
                "topic_id": id_text(topic_id),
                "partition": partition,
                "leader_epoch": promise.leader_epoch,
                "session": promise.session,
                "voted_for": _voter(promise.voted_for),
                "log_epoch": promise.log_epoch,
                "config_epoch": promise.config_epoch,
                "config_version": promise.config_version,
                "voters": [_voter(voter) for voter in promise.voters],
                "log_start_offset": promise.log_start_offset,
                "synced_end": promise.synced_end,
                "tombstone": promise.tombstone,
                "unsure": promise.unsure,
            },
        )


def _voter(voter: Voter | None) -> str | None:
    return None if voter is None else f"{voter[0]}@{UUID(bytes=bytes(voter[1]))}"
