"""A real OpenSSH server on loopback for the benchmarks, for the user who runs them.

Belongs here: its configuration, start and end. The folder holds the keys and known_hosts that
fleet.write_folder has written.
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SSHD = Path("/usr/sbin/sshd")
MAX_ADDRESSES = 16
"""More lines of ListenAddress sshd does not take (MAX_LISTEN_SOCKS)."""

START_SECONDS = 30


@dataclass(frozen=True)
class Sshd:
    """A server that listens; its log has the level INFO."""

    process: "subprocess.Popen[bytes]"
    log: Path


@contextmanager
def real_sshd(folder: Path, *, port: int, addresses: Sequence[str]) -> Iterator[Sshd]:
    """Listen on loopback addresses while the block runs.

    Args:
        folder: keys `client.pub` (may log in) and `host`.
        port: where to listen.
        addresses: at most MAX_ADDRESSES of 127.0.0.0/8.

    Raises:
        SystemExit: it did not start; with its log.
    """
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's own need as root
    authorized = folder / "authorized_keys"
    authorized.write_bytes((folder / "client.pub").read_bytes())
    config = folder / "sshd_config"
    listen = "".join(f"ListenAddress {address}\n" for address in addresses)
    config.write_text(
        f"Port {port}\n{listen}HostKey {folder / 'host'}\nPidFile none\n"
        f"AuthorizedKeysFile {authorized}\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\nMaxStartups 1000\nMaxSessions 100\n"
        "LogLevel INFO\nPrintMotd no\nX11Forwarding no\n"
        # Not the start files of whoever runs this: bash reads them for sshd, once per session.
        f"SetEnv HOME={folder}\n"
    )
    log = folder / "sshd.log"
    with log.open("wb") as file:
        process = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(config)], stderr=file)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _greets(addresses[-1], port):
            if process.poll() is not None or time.monotonic() > deadline:
                msg = f"sshd did not start: {log.read_text()}"
                raise SystemExit(msg)
            time.sleep(0.05)
        yield Sshd(process, log)
    finally:
        process.terminate()
        process.wait(10)


def _greets(address: str, port: int) -> bool:
    """Whether an SSH server answers."""
    try:
        with socket.create_connection((address, port), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
