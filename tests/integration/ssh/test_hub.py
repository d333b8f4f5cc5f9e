"""The hub: a transport without a thread, its sends, and its end."""

import selectors
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from resmon_resources.ssh_hub import Hub, HubSocket
from tests.fixtures_ssh import poll_until

pytestmark = pytest.mark.integration


class Loop:
    """A hub whose loop is the test: what was posted runs when the test says so."""

    def __init__(self) -> None:
        self.posted: list[Callable[[], None]] = []
        self.selector = selectors.DefaultSelector()
        self.hub = Hub(self.posted.append, self.selector)
        self.hub.adopt_loop()

    def turn(self) -> None:
        """What was posted, then what is ready."""
        while self.posted:
            self.posted.pop(0)()
        for key, _ in self.selector.select(0):
            key.data()


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop that is over at the end."""
    made = Loop()
    yield made
    made.hub.finish(timeout_seconds=2)
    made.selector.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def fill(sock: socket.socket) -> None:
    """Send until the kernel takes no more."""
    sock.settimeout(0.0)
    try:
        while sock.send(b"x" * 65536):
            pass
    except BlockingIOError:
        return


def test_the_loop_never_waits_for_a_peer_that_does_not_read(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    """One server that stopped reading would stop the ticks of all."""
    ours, _ = pair
    wrapped = HubSocket(ours, loop.hub)
    fill(ours)
    with pytest.raises(ConnectionAbortedError, match="does not read"):
        wrapped.send(b"tick")


def test_another_thread_waits_for_room(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    """A login over a slow line is no broken connection."""
    ours, theirs = pair
    wrapped = HubSocket(ours, loop.hub)
    fill(ours)
    sent: list[int] = []
    worker = threading.Thread(target=lambda: sent.append(wrapped.send(b"login")))
    worker.start()
    theirs.settimeout(0.0)
    read = 0
    while worker.is_alive():
        try:
            read += len(theirs.recv(65536))
        except BlockingIOError:
            worker.join(0.01)
    assert sent == [5]
    assert read


def test_a_transport_ends_with_its_connection(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Whoever waits for its key exchange must not wait for ever."""
    ours, theirs = pair
    transport = loop.hub.transport(ours)
    done = threading.Event()
    transport.start_client(event=done)
    assert transport.is_alive()
    loop.turn()
    theirs.shutdown(socket.SHUT_RDWR)

    def has_ended() -> bool:
        loop.turn()
        return not transport.is_alive()

    poll_until(has_ended, what="the end of the transport")
    assert done.is_set()
    assert transport.saved_exception is not None
    assert not loop.selector.get_map(), "its descriptor is still watched"
    assert ours.fileno() >= 0, "the descriptor is its owner's to close"


def test_the_end_of_the_loop_ends_what_runs_and_what_comes_later(loop: Loop) -> None:
    """A worker whose transport never runs would hold up the end of the collector."""
    pairs = [socket.socketpair() for _ in range(3)]
    running, posted, late = (loop.hub.transport(ours) for ours, _ in pairs)
    events = [threading.Event() for _ in pairs]
    running.start_client(event=events[0])
    loop.turn()
    posted.start_client(event=events[1])
    loop.hub.finish(timeout_seconds=2)
    late.start_client(event=events[2])
    loop.turn()
    for transport, event in zip((running, posted, late), events, strict=True):
        assert event.is_set()
        assert not transport.is_alive()
        assert not transport.is_active()
        transport.join(0)
    for ours, theirs in pairs:
        ours.close()
        theirs.close()
