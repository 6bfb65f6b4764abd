"""How a process with an empty data directory becomes a node: it claims an id of the mesh.

Nothing is written before the id is given, so whatever fails leaves an empty directory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import trio

from mesh.gossip.joining import Claim, Given, Refer, Refused, Wait, encode_claim, parse_answer
from mesh.gossip.messages import SPEAKS, MalformedError
from mesh.node.frames import FrameError, ask
from mesh.runtime.ports import Runtime
from mesh.runtime.sealing import RefusedSealError, Seal
from mesh.version import VERSION
from storage.journal import Journal
from storage.meta import Meta, write_meta

if TYPE_CHECKING:
    from mesh.node.options import Address
    from storage.disk import Disk

ASK_S_MAX = 5.0
WAIT_MS = 100
WAITS_MAX = 100
"""A claim that is not durable after ten seconds will not be soon."""
REFERRALS_MAX = 5


class JoinError(Exception):
    """No member let this node in; `reasons` says of each what it said."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{address} {reason}" for address, reason in reasons.items()))
        self.reasons = dict(reasons)

    @property
    def refused(self) -> bool:
        """Whether anybody answered, and refused."""
        return any(not reason.startswith("does not answer") for reason in self.reasons.values())


async def become_member(
    runtime: Runtime,
    disk: Disk,
    directory: str,
    seeds: Sequence[Address],
    wanted: int | None,
    seal: Seal | None,
) -> Meta:
    """Claim a node id through these members, and write down who this directory now is.

    Raises:
        JoinError: none of them gave one; the directory is as it was.
        DiskError: the directory cannot be written.
    """
    directory_id = UUID(bytes=runtime.entropy(16), version=4)
    given = await claim_id(runtime, directory_id.bytes, [str(seed) for seed in seeds], wanted, seal)
    meta = Meta(
        cluster_id=UUID(bytes=given.cluster_id),
        directory_id=directory_id,
        node_id=given.node_id,
        version=VERSION,
    )
    Journal.found(disk, directory, directory_id.bytes, {}).close()
    write_meta(disk, directory, meta)
    return meta


async def claim_id(
    runtime: Runtime,
    directory_id: bytes,
    seeds: Sequence[str],
    wanted: int | None,
    seal: Seal | None,
) -> Given:
    """Ask members, and whom they name, for a node id.

    Raises:
        JoinError: none of them gave one.
    """
    frame = encode_claim(Claim(directory_id, *SPEAKS, VERSION, wanted or 0))
    reasons: dict[str, str] = {}
    queue = deque(seeds)
    referrals = waits = 0
    while queue:
        address = queue.popleft()
        try:
            with trio.fail_after(ASK_S_MAX):
                answer = parse_answer(await ask(runtime, address, frame, seal))
        except trio.TooSlowError:
            reasons[address] = f"does not answer within {ASK_S_MAX:g} s"
            continue
        except OSError as error:
            reasons[address] = f"does not answer: {error.strerror or error}"
            continue
        except RefusedSealError as error:
            reasons[address] = str(error)
            continue
        except (FrameError, MalformedError, ValueError):
            reasons[address] = "is no peer port of a mesh that we understand"
            continue
        match answer:
            case Given():
                return answer
            case Wait():
                waits += 1
                if waits > WAITS_MAX:
                    reasons[address] = "does not get its registry to write the id down"
                    continue
                await runtime.sleep_until(runtime.now().monotonic_ms + WAIT_MS)
                queue.appendleft(address)
            case Refer(other):
                referrals += 1
                reasons[address] = f"refers to {other}"
                if referrals <= REFERRALS_MAX and other not in reasons:
                    queue.appendleft(other)
            case Refused(text):
                reasons[address] = f"refuses: {text}"
    raise JoinError(reasons)
