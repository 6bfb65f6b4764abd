"""The real side of the ports: the only sockets, sleep, wall clock and entropy in the project."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import socket
import stat
import struct
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar
from uuid import UUID

import trio

from mesh.model.limits import COLD_READ_THREADS_MAX
from mesh.model.types import Now
from mesh.runtime.local import reachable
from mesh.runtime.pace import Pace
from mesh.runtime.ports import Outgoing, Usage
from mesh.runtime.together import run_together
from storage.disk import FileSlice

T = TypeVar("T")

SEND_BUFFERS_MAX = 1000
"""Linux takes at most 1,024 pieces in one sendmsg (IOV_MAX)."""
SENDFILE_BYTES_MAX = 1 << 20
"""One call sends no more, so that one reader of much does not hold up the loop."""
ACCEPT_PAUSE_S = 0.1
"""After EMFILE: long enough for connections to close, short enough not to be noticed."""
CACHE_PROBE_STEP_BYTES = 512 << 10
"""What is read or written together is mostly cached or dropped together; each probe costs 2 µs."""
BACKLOG = 4096
DATAGRAM_ROOM = 2048
"""More than a datagram of ours has; of a longer one the rest is cut off, and it is refused."""
UDP_BUFFER_BYTES = 1 << 20
UNANSWERED_MS_MAX = 5_000
"""What we sent over a connection that we opened is taken by then, or the connection ends, so that
a new one is made. The kernel would try for a quarter of an hour, at last once in two minutes."""
LOCAL_BACKLOG = 16
_CREDENTIALS = struct.Struct("3i")
"""struct ucred of unix(7): process, user, group."""
FILES_RESERVE_MAX = 1024
"""Descriptors that connections leave to files, or a quarter of all if that is fewer: without one
for a directory to be synced the node would have to stop."""
_cold_reads = trio.CapacityLimiter(COLD_READ_THREADS_MAX)
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class TcpStream:
    """One TCP connection on the bare non-blocking socket; trio only waits for it.

    A trio socket yields after each success. Here the caller decides, so that bytes received into
    a buffer shared by all connections are handled before anybody else may run.
    """

    __slots__ = ("_socket", "peer")

    def __init__(self, sock: socket.socket, peer: str) -> None:
        sock.setblocking(False)
        self._socket = sock
        self.peer = peer

    async def readable(self) -> None:
        """Wait until bytes, the end or an error can be received at once."""
        if self._socket.fileno() < 0:  # Which trio would take for a fault of ours.
            raise trio.ClosedResourceError
        await trio.lowlevel.wait_readable(self._socket)

    def receive_into(self, view: memoryview, *, peek: bool = False) -> int:
        """Take what has arrived, without waiting; 0 is the end."""
        return self._socket.recv_into(view, 0, socket.MSG_PEEK if peek else 0)

    def send_now(self, parts: list[Outgoing]) -> None:
        """Send what the kernel takes without waiting, and remove it from `parts`."""
        try:
            while parts:
                head = parts[0]
                if isinstance(head, FileSlice):
                    if not _is_cached(head):
                        return  # It would hold up everybody; send_rest uses a thread.
                    if not self._send_slice(parts, head):
                        return
                elif not self._send_buffers(parts):
                    return
        except BlockingIOError:
            return

    async def send_rest(self, parts: list[Outgoing]) -> None:
        """Send all of `parts`, waiting for the peer and for a cold disk as need be."""
        while parts:
            if self._socket.fileno() < 0:
                raise trio.ClosedResourceError
            await trio.lowlevel.wait_writable(self._socket)
            head = parts[0]
            if isinstance(head, FileSlice) and not _is_cached(head):
                # Page in where it blocks nobody what is sent next.
                await trio.to_thread.run_sync(_head(head).read, limiter=_cold_reads)
                with contextlib.suppress(BlockingIOError):
                    self._send_slice(parts, head)
            self.send_now(parts)

    def _send_buffers(self, parts: list[Outgoing]) -> bool:
        """Send the buffers at the front; False when the kernel took only a part."""
        run: list[bytes | bytearray | memoryview] = []
        for part in parts:
            if isinstance(part, FileSlice) or len(run) == SEND_BUFFERS_MAX:
                break
            run.append(part)
        # More follows at once, so a header shares its segment with what it announces.
        flags = socket.MSG_MORE if len(run) < len(parts) else 0
        sent = self._socket.sendmsg(run, [], flags)
        for index, part in enumerate(run):
            if sent < len(part):
                parts[: index + 1] = [memoryview(part)[sent:]]
                return False
            sent -= len(part)
        del parts[: len(run)]
        return True

    def _send_slice(self, parts: list[Outgoing], head: FileSlice) -> bool:
        """Send (a stretch of) the file slice at the front; False when the kernel is full."""
        wanted = min(len(head), SENDFILE_BYTES_MAX)
        file_descriptor = head.file.fileno()
        if file_descriptor is None:
            sent = self._socket.send(_head(head).read())
        else:
            sent = os.sendfile(self._socket.fileno(), file_descriptor, head.position, wanted)
        if sent == 0:
            raise OSError(errno.EIO, "a segment is shorter than its index says")
        if sent == len(head):
            del parts[0]
        else:
            parts[0] = FileSlice(head.file, head.position + sent, len(head) - sent)
        return sent == wanted

    def close(self) -> None:
        """End it at once; harmless when repeated."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class TcpListener:
    """A listening TCP socket."""

    def __init__(self, sock: socket.socket) -> None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._descriptors_max = limit - min(limit // 4, FILES_RESERVE_MAX)
        self._socket = sock
        self.host, self.port = sock.getsockname()[:2]

    async def accept(self) -> TcpStream:
        """Wait for the next connection; goes on after running out of file descriptors."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                sock, address = self._accept()
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno in _OUT_OF_FILES:
                    await trio.sleep(ACCEPT_PAUSE_S)
                elif error.errno == errno.EBADF:
                    raise
                continue  # Any other error is that of the connection that was not taken.
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                sock.close()  # The peer was gone before we began.
                continue
            return TcpStream(sock, _address(address))

    def _accept(self) -> tuple[socket.socket, tuple[str, int]]:
        """Take one, if its descriptor, the lowest that is free, is not kept for files."""
        lowest = os.dup(self._socket.fileno())
        os.close(lowest)
        if lowest >= self._descriptors_max:
            raise OSError(errno.EMFILE, "the other descriptors are for files")
        return self._socket.accept()

    def close(self) -> None:
        """Take no more."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class UnixListener:
    """A listening Unix socket; a peer is named by its user and process."""

    def __init__(self, sock: socket.socket, path: str) -> None:
        self._socket = sock
        self.host, self.port = path, 0

    async def accept(self) -> TcpStream:
        """Wait for the next connection of the owner's (or of root's)."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                sock, _ = self._socket.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno in _OUT_OF_FILES:
                    await trio.sleep(ACCEPT_PAUSE_S)
                elif error.errno == errno.EBADF:
                    raise
                continue
            about = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            process_id, user_id, _ = _CREDENTIALS.unpack(about)
            # The mode of the path says the same, unless somebody changed that.
            if user_id not in (0, os.geteuid()):
                sock.close()
                continue
            return TcpStream(sock, f"process {process_id} of user {user_id}")

    def close(self) -> None:
        """Take no more, and remove the path."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.host)


class UdpPort:
    """A bound UDP port on the bare non-blocking socket; trio only waits for it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._family = sock.family
        self.host, self.port = sock.getsockname()[:2]

    async def readable(self) -> None:
        """Wait until a datagram, or an error, can be received at once."""
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError
        await trio.lowlevel.wait_readable(self._socket)

    def receive_now(self, count_max: int) -> list[tuple[bytes, str]]:
        """Take what has arrived, without waiting: each with the `host:port` that it came from."""
        found: list[tuple[bytes, str]] = []
        for _ in range(count_max):
            try:
                data, address = self._socket.recvfrom(DATAGRAM_ROOM)
            except BlockingIOError:
                break
            except ConnectionError:
                continue  # Nobody listened where we sent something; the members find out.
            found.append((data, _address(address)))
        return found

    def send_now(self, data: bytes, host: str, port: int) -> bool:
        """Send one without waiting; False if it was dropped. The host is a number, not a name."""
        try:
            self._socket.sendto(data, (host, port))
        except OSError:  # The kernel's buffer is full, or there is no way there: it is lost.
            return False
        return True

    def close(self) -> None:
        """End it; harmless when repeated."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


def _bind_locally(sock: socket.socket, path: str) -> None:
    """Bind to a path that nobody may use yet."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISSOCK(found.st_mode):
            raise FileExistsError(errno.EEXIST, "it is there, and is no socket", path)
        os.unlink(path)  # Left by a process that was killed.
    with reachable(path) as short:
        sock.bind(short)
    # Nobody can connect before it listens, so that nobody can be quicker than the mode.
    os.chmod(path, 0o600)


class TrioRuntime:
    """The real world."""

    def now(self) -> Now:
        """Read both clocks; trio's own is the monotonic one, so a test can wind it."""
        # A microsecond more, or 1.001 s is 1,000 ms and an instant that was slept for has not come.
        return Now(int(trio.current_time() * 1000 + 0.001), int(time.time() * 1000))

    def ticks_ns(self) -> int:
        """A fine monotonic clock to measure by."""
        return time.perf_counter_ns()

    async def listen(self, host: str, port: int) -> TcpListener:
        """Bind and listen.

        Raises:
            OSError: the address is in use, not ours, or not known.
        """
        found = await trio.socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
        return TcpListener(sock)

    async def listen_locally(self, path: str) -> UnixListener:
        """Listen on a Unix socket that only its owner may connect to; an old one is replaced.

        Raises:
            OSError: something else has this name, or the file system takes no socket.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            _bind_locally(sock, path)
            sock.listen(LOCAL_BACKLOG)
        except OSError:
            sock.close()
            raise
        return UnixListener(sock, path)

    async def datagrams(self, host: str, port: int) -> UdpPort:
        """Bind for datagrams.

        Raises:
            OSError: the address is in use, not ours, or not known.
        """
        found = await trio.socket.getaddrinfo(
            host or None, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            # A burst of news must not push probes out.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
        return UdpPort(sock)

    async def connect(self, host: str, port: int) -> TcpStream:
        """Connect to a listener; the caller bounds the time.

        Raises:
            OSError: nobody listens there, or there is no way.
        """
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MS_MAX)
            with contextlib.suppress(BlockingIOError):
                sock.connect(address)
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
        except BaseException:
            sock.close()
            raise
        return TcpStream(sock, f"{host}:{port}")

    async def resolve(self, host: str, port: int, *, stream: bool) -> tuple[str, int]:
        """Return the number of a host that has a name, or its own if it is one.

        Raises:
            OSError: nobody knows the name.
        """
        kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
        found = await trio.socket.getaddrinfo(host, port, type=kind)
        host_number, port_number = found[0][4][:2]
        return str(host_number), int(port_number)

    async def sleep_until(self, monotonic_ms: int) -> None:
        """Wait for an instant of the monotonic clock."""
        await trio.sleep_until(monotonic_ms / 1000)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work elsewhere; a cancellation waits until it is done."""
        return await trio.to_thread.run_sync(work)

    def run_together(self, runs: Sequence[Callable[[], None]]) -> None:
        """Run blocking calls in a few threads, and wait for all."""
        run_together(runs)

    def pace(self, bytes_per_second: float) -> Callable[[int], None]:
        """Return what a thread that computes calls with the bytes it handled; it may sleep."""
        return Pace(bytes_per_second)

    def entropy(self, size: int) -> bytes:
        """Bytes that nobody can foretell."""
        return os.urandom(size)

    def usage(self) -> Usage:
        """What this process has taken so far."""
        spent = resource.getrusage(resource.RUSAGE_SELF)
        try:
            with open("/proc/self/statm", "rb") as file:
                resident = int(file.read().split()[1]) * resource.getpagesize()
        except OSError:
            resident = 0
        return Usage(int((spent.ru_utime + spent.ru_stime) * 1000), resident)

    def boot_id(self) -> bytes:
        """The kernel's; zeros where it tells none, as in some containers."""
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                return UUID(file.read().strip()).bytes
        except (OSError, ValueError):
            return bytes(16)

    def raise_file_limit(self) -> None:
        """Let this process open as many files and connections as the system allows it."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    @contextlib.contextmanager
    def stop_signals(self) -> Iterator[Callable[[], Awaitable[str]]]:
        """Catch SIGTERM and SIGINT from now on; the call waits for one and tells its name."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:

            async def wait() -> str:
                return signal.Signals(await anext(signals)).name

            yield wait


def _address(address: tuple[str, int] | tuple[str, int, int, int]) -> str:
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _head(piece: FileSlice) -> FileSlice:
    return FileSlice(piece.file, piece.position, min(len(piece), SENDFILE_BYTES_MAX))


def _is_cached(piece: FileSlice) -> bool:
    """Whether what would be sent next is in memory, as far as a few probes tell."""
    end = piece.position + min(len(piece), SENDFILE_BYTES_MAX)
    probes = [*range(piece.position, end, CACHE_PROBE_STEP_BYTES), end - 1]
    return all(piece.file.read_if_cached(at, 1) is not None for at in probes)
