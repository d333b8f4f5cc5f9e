"""Sessions without waiting: a paramiko transport that can be asked for one from a loop.

Belongs here: what paramiko keeps to itself and a session per tick needs. Knows nothing of servers,
probes or loops; ssh.py drives it.
"""

import threading
from collections.abc import Callable

import paramiko


class SessionTransport(paramiko.Transport):
    """A transport that can also ask for a session without waiting for the server's word.

    The waiting of `open_session` and `exec_command` would cost a thread per server that is read by
    a session per tick. Uses what paramiko 5.1 keeps to itself.

    Attributes:
        on_end: called by the transport's thread when it ends; a connection without a session has
            nothing else that tells.
    """

    on_end: Callable[[], None] | None = None

    def run(self) -> None:
        """The thread: all of paramiko's, then a word about the end."""
        try:
            super().run()
        finally:
            if self.on_end is not None:
                self.on_end()

    def begin_session(self, word: threading.Event, *, window_bytes: int) -> paramiko.Channel:
        """Ask for a session; `word` is set when the server has decided, or the transport ended.

        The channel is `active` then, unless it was refused.

        Raises:
            EOFError: the transport has ended.
        """
        self._check_active()
        with self.lock:
            number = self._next_channel()  # type: ignore[attr-defined]
            channel = paramiko.Channel(number)
            self._channels.put(number, channel)  # type: ignore[attr-defined]
            self.channel_events[number] = word
            self.channels_seen[number] = True
            channel._set_transport(self)  # type: ignore[attr-defined]  # noqa: SLF001
            packet_size = self._sanitize_packet_size(None)  # type: ignore[attr-defined]
            channel._set_window(window_bytes, packet_size)  # type: ignore[attr-defined]  # noqa: SLF001
        message = paramiko.Message()
        message.add_byte(paramiko.common.cMSG_CHANNEL_OPEN)
        message.add_string("session")
        for amount in (number, window_bytes, packet_size):
            message.add_int(amount)
        self._send_user_message(message)  # type: ignore[attr-defined]
        channel.settimeout(0.0)
        self._check_active()  # ended meanwhile, nobody might set the word
        return channel

    def _check_active(self) -> None:
        """Refuse to begin anything on a transport that has ended."""
        if not self.is_active():
            msg = "it has ended"
            raise EOFError(msg)

    def begin_command(self, channel: paramiko.Channel, command: str) -> None:
        """Have an active session run a command; refused, it is closed."""
        message = paramiko.Message()
        message.add_byte(paramiko.common.cMSG_CHANNEL_REQUEST)
        message.add_int(channel.remote_chanid)
        message.add_string("exec")
        message.add_boolean(True)  # noqa: FBT003 - want reply
        message.add_string(command)
        self._send_user_message(message)  # type: ignore[attr-defined]
