"""What a node needs before it serves: its ports, its identity, the commands that change it."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mesh.model.statistics import NodeFacts, Statistics
from mesh.node.control import SOCKET_NAME, Command, Fields, RefusedCommandError
from mesh.node.founding import identify
from mesh.node.joining import JoinError, become_member
from mesh.node.mesh_port import MeshSide, PeerPort
from mesh.node.options import (
    Address,
    ControlSocketError,
    ListenError,
    NodeOptions,
    Ready,
)
from mesh.version import VERSION
from storage.disk import Disk
from storage.meta import Meta, read_meta

if TYPE_CHECKING:
    from mesh.runtime.sealing import Seal
from mesh.runtime.ports import Listener, Runtime

log = logging.getLogger("mesh.node")


async def listen(runtime: Runtime, address: Address, option: str) -> Listener:
    """Bind and listen. Raises ListenError."""
    try:
        return await runtime.listen(*address)
    except OSError as error:
        raise ListenError(address, error, option) from error


async def listen_locally(runtime: Runtime, data_directory: str) -> Listener:
    """Listen for commands in the data directory. Raises ControlSocketError."""
    path = f"{data_directory}/{SOCKET_NAME}"
    try:
        return await runtime.listen_locally(path)
    except OSError as error:
        raise ControlSocketError(path, error) from error


def node_facts(meta: Meta, options: NodeOptions, address: str) -> NodeFacts:
    """Return what of a node does not change while it runs."""
    return NodeFacts(
        cluster_id=str(meta.cluster_id),
        node_id=meta.node_id,
        directory_id=str(meta.directory_id),
        address=address,
        host=options.host or platform.node(),
        rack=options.rack,
        version=VERSION,
    )


def side_commands(
    side: MeshSide, leave: Command, wall_ms: Callable[[], int]
) -> Mapping[str, Command]:
    """Return the commands that change a node's membership; `leave` begins to leave for good."""

    def expel(request: Mapping[str, object], peer: str) -> Fields:
        del peer
        node_id = request.get("node")
        if type(node_id) is not int:
            raise RefusedCommandError('`expel` needs a "node", the id of a dead member')
        try:
            side.expel(node_id)
        except ValueError as error:
            raise RefusedCommandError(str(error)) from None
        return {"node": node_id, "state": "left"}

    def reload_keys(request: Mapping[str, object], peer: str) -> Fields:
        del request, peer
        try:
            return {"keys": list(side.reload_keys())}
        except ValueError as error:
            raise RefusedCommandError(str(error)) from None

    def pause_moves(request: Mapping[str, object], peer: str) -> Fields:
        del request, peer
        side.pause_moves(wall_ms(), paused=True)
        return {"moves": "paused"}

    def resume_moves(request: Mapping[str, object], peer: str) -> Fields:
        del request, peer
        side.pause_moves(wall_ms(), paused=False)
        return {"moves": "resumed"}

    return {
        "expel": expel,
        "leave": leave,
        "reload_keys": reload_keys,
        "pause_moves": pause_moves,
        "resume_moves": resume_moves,
    }


def news_of(
    meta: Meta,
    options: NodeOptions,
    port: PeerPort,
    admin: Address,
    statistics: Callable[[], Statistics],
    *,
    listen: Address,
    advertise: Address,
) -> Ready:
    """Return what is told once a node runs."""
    return Ready(
        node_id=meta.node_id,
        cluster_id=str(meta.cluster_id),
        listen=listen,
        admin=admin,
        peer=port.address,
        advertise=advertise,
        data_directory=options.data_directory,
        statistics=statistics,
    )


async def identity(runtime: Runtime, disk: Disk, options: NodeOptions, seal: Seal | None) -> Meta:
    """Return who the data directory belongs to; an empty one founds a mesh, or joins one.

    Raises:
        JoinError: the mesh does not let it in, or it belongs to another node than was asked for.
        BadMeta, ForeignDirectoryError, DiskError, SyncFailed: the directory cannot be used.
    """
    directory, wanted = options.data_directory, options.node_id
    meta = read_meta(disk, directory)
    if meta is None and options.join:
        return await become_member(runtime, disk, directory, options.join, wanted, seal)
    meta = identify(disk, directory, runtime.entropy)
    if wanted not in (None, meta.node_id):
        raise JoinError({directory: f"is the directory of node {meta.node_id}"})
    return meta
