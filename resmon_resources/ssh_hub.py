"""Hub: the SSH transports of a fleet in one thread, that of its loop.

Belongs here: what makes a paramiko transport run without a thread of its own. Knows nothing of
servers, steps or probes; ssh.py opens and closes what runs here.

A transport of paramiko is a thread that mostly waits in `recv`. Ten thousand of them are ten
thousand stacks, and whenever the machine has hesitated for a second, hundreds wake up together and
spend the cores on asking each other for Python's lock (measured: a load above 300, from which a
collector of 10,000 servers hardly came back). So the same code runs as a greenlet: where it would
wait for bytes it goes back to the loop, which goes on with it when the socket has some.

What is different from a thread:

* `recv` takes all that is there in one call and hands it out piece by piece.
* `send` of the loop never waits. When the kernel takes no more, the other end has not read for
  long, and the connection is given up. Other threads (those that log in) wait for room, with a
  limit.
* The descriptor is closed by `Route.close` alone, when the loop has let go of it.
"""

import contextlib
import functools
import select
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import cast

import greenlet

from resmon_resources.ssh_session import SessionTransport

SEND_WAIT_SECONDS = 10.0
"""How long a thread other than the loop's waits until the kernel takes a write."""

_READ_BYTES = 64 * 1024


class HubSocket:
    """What a transport takes for its socket: waits by going back to the loop."""

    __slots__ = ("_closed", "_hub", "_pending", "_sock")

    def __init__(self, sock: socket.socket, hub: "Hub") -> None:
        sock.settimeout(0.0)
        self._sock = sock
        self._hub = hub
        self._pending = b""
        self._closed = False  # paramiko looks at this name

    @property
    def fileno(self) -> int:
        """Descriptor to watch."""
        return self._sock.fileno()

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes; b"" at the end. Called in the transport's greenlet only."""
        while not self._pending:
            # One read for each time that the loop has seen bytes: a flood does not stop the others.
            self._hub.pause()
            try:
                self._pending = self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                continue
            if not self._pending:
                return b""
        piece = self._pending[:size]
        self._pending = self._pending[size:]
        return piece

    def send(self, piece: bytes) -> int:
        """Send some of these bytes, from any thread.

        Raises:
            OSError: the connection is broken, or its other end takes nothing any more.
        """
        while True:
            try:
                return self._sock.send(piece)
            except BlockingIOError as error:
                room = select.poll()
                room.register(self._sock, select.POLLOUT)
                if self._hub.is_own_thread() or not room.poll(SEND_WAIT_SECONDS * 1000):
                    msg = "the other end does not read"
                    raise ConnectionAbortedError(msg) from error

    def settimeout(self, seconds: float | None) -> None:
        """Nothing: the loop never waits in here."""

    def close(self) -> None:
        """Cut the connection, which ends the transport; its owner closes the descriptor."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)


def _no_timer(_timeout: float) -> None:
    """Nothing."""


class HubTransport(SessionTransport):
    """A transport that runs in the loop of its hub; `is_alive` and `join` as of a thread."""

    def __init__(self, hub_socket: HubSocket, hub: "Hub") -> None:
        super().__init__(cast("socket.socket", hub_socket))
        # Its timer is a thread for each login; who logs in has limits of his own.
        self.packetizer.start_handshake = _no_timer  # type: ignore[method-assign, assignment]
        self.hub_socket = hub_socket
        self.is_over = threading.Event()
        self._hub = hub
        self._is_begun = False

    def start(self) -> None:
        """Begin to run, soon; from any thread."""
        self._is_begun = True
        self._hub.begin(self)

    def is_alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._is_begun and not self.is_over.is_set()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end; never from the loop's thread."""
        if self._is_begun:
            self.is_over.wait(timeout)

    def abandon(self) -> None:
        """End what the loop will not run any more, for those who wait for it."""
        self.active = False
        if self.completion_event is not None:
            self.completion_event.set()
        self.is_over.set()


class Hub:
    """Transports of one loop.

    Args:
        post: has the loop call something, from any thread.
        selector: the loop's; what is registered has a callable as data, called when it is ready.
    """

    def __init__(
        self, post: Callable[[Callable[[], None]], None], selector: selectors.BaseSelector
    ) -> None:
        self._post = post
        self._selector = selector
        self._running: dict[HubTransport, greenlet.greenlet] = {}
        self._loop: greenlet.greenlet | None = None
        self._thread_id = 0
        self._is_over = False

    # For any thread.

    def transport(self, sock: socket.socket) -> HubTransport:
        """A transport on a connected socket, which the caller closes after the transport's end."""
        return HubTransport(HubSocket(sock, self), self)

    def begin(self, transport: HubTransport) -> None:
        """Run a transport from the loop's next turn on."""
        self._post(functools.partial(self._start, transport))
        if self._is_over:
            transport.abandon()

    def is_own_thread(self) -> bool:
        """Whether the caller is the loop."""
        return threading.get_ident() == self._thread_id

    # For the loop.

    def adopt_loop(self) -> None:
        """The calling thread is the loop from now on."""
        self._loop = greenlet.getcurrent()
        self._thread_id = threading.get_ident()

    def pause(self) -> None:
        """Go back to the loop until the socket of the running transport has bytes."""
        assert self._loop is not None  # noqa: S101 - nothing runs before the loop does
        self._loop.switch()

    def finish(self, *, timeout_seconds: float) -> None:
        """Cut what still runs and let it come to its end; nothing runs after this."""
        self._is_over = True
        for transport in self._running:
            transport.hub_socket.close()
        deadline = time.monotonic() + timeout_seconds
        while self._running and time.monotonic() < deadline:
            for running in list(self._running.values()):
                running.switch()

    def _start(self, transport: HubTransport) -> None:
        """Run a transport up to where it waits for the first time."""
        if self._is_over or transport.is_over.is_set():
            transport.abandon()
            return
        carry = functools.partial(self._carry, transport)
        self._running[transport] = running = greenlet.greenlet(carry, self._loop)
        self._selector.register(transport.hub_socket.fileno, selectors.EVENT_READ, running.switch)
        running.switch()

    def _carry(self, transport: HubTransport) -> None:
        """The greenlet of a transport."""
        fileno = transport.hub_socket.fileno
        try:
            transport.run()
        finally:
            self._selector.unregister(fileno)
            del self._running[transport]
            transport.is_over.set()
