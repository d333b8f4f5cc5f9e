"""Jump hosts: the text of OpenSSH's ProxyJump, `[user@]host[:port][,...]`, as records and back.

Belongs here: parsing and writing. Pure; what a part may be is decided by the inventory, and how the
hops are reached in ssh.py.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

NO_JUMP = "none"
"""Word of OpenSSH for a direct connection."""

SSH_PORT = 22

_SCHEME = "ssh://"
_HOP = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?"
    r"(?:\[(?P<bracketed>[0-9A-Fa-f:.%A-Za-z_-]+)\]|(?P<host>[^\s\[\]@:/]+))"
    r"(?::(?P<port>\d{1,5}))?/?"
)


@dataclass(frozen=True, slots=True)
class Hop:
    """One jump host.

    Attributes:
        host: name or address, an IPv6 address without brackets.
        port: port of its sshd; None when it is not said, which means 22.
        user_name: login name; None means the user that Resmon runs as, as with ssh.
    """

    host: str
    port: int | None = None
    user_name: str | None = None

    def __str__(self) -> str:
        """`user@host:port`; what is not said, and port 22, are left out."""
        user = f"{self.user_name}@" if self.user_name else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{user}{host}" + ("" if self.port in {None, SSH_PORT} else f":{self.port}")


def parse_proxy_jump(text: str) -> tuple[Hop, ...]:
    """Hops in the order in which they are passed; empty for `none`.

    Raises:
        ValueError: says which part cannot be a jump host.
    """
    if text.strip().lower() == NO_JUMP:
        return ()
    hops = []
    for part in text.split(","):
        bare = part.strip().removeprefix(_SCHEME)
        found = _HOP.fullmatch(bare)
        if found is None:
            msg = (
                f"{part.strip()!r} in {text!r} is not [user@]host[:port]; several jump hosts are "
                "separated by commas, an IPv6 address stands in brackets"
            )
            raise ValueError(msg)
        port = None if found["port"] is None else int(found["port"])
        hops.append(Hop(found["bracketed"] or found["host"], port, found["user"]))
    return tuple(hops)


def format_proxy_jump(hops: Sequence[Hop]) -> str:
    """The text of these hops; `none` when there is none."""
    return ",".join(str(hop) for hop in hops) or NO_JUMP
