"""Which host key of a server is believed: its pin, else known_hosts, else its first if asked for.

Belongs here: the key as a record, the order of judgement, and what a refusal says. Knows no
connections and no database. A key that nothing vouches for passes only where the caller gives a
place to pin it; there is no mode that accepts a changed key.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass

from resmon_resources.errors import CollectionError
from resmon_resources.known_hosts import KnownHosts, fingerprint, host_name_in_file


@dataclass(frozen=True, slots=True)
class HostKey:
    """A public key of a server.

    Attributes:
        key_type: as in known_hosts, for example ssh-ed25519.
        blob: the key in wire form.
    """

    key_type: str
    blob: bytes

    @classmethod
    def parse(cls, text: str) -> "HostKey":
        """The key of `type base64`, as `text` gives it.

        Raises:
            ValueError: it is not of that form.
        """
        fields = text.split()
        try:
            key_type, encoded = fields
            blob = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            msg = f"{text!r} is not a host key: a type and base64 are expected"
            raise ValueError(msg) from error
        return cls(key_type, blob)

    @property
    def encoded(self) -> str:
        """The key as in known_hosts."""
        return base64.b64encode(self.blob).decode("ascii")

    @property
    def text(self) -> str:
        """`type base64`, the form in which it is pinned."""
        return f"{self.key_type} {self.encoded}"

    @property
    def fingerprint(self) -> str:
        """SHA256 fingerprint as `ssh-keygen -l` prints it."""
        return fingerprint(self.blob)

    def __str__(self) -> str:
        """Type and fingerprint, for messages."""
        return f"{self.key_type} {self.fingerprint}"


@dataclass(frozen=True, slots=True)
class HostKeySeen:
    """The first key of a server, accepted because nothing was known of it; to be pinned.

    Attributes:
        server_id: which server.
        host: where it stood then.
        port: port of its sshd then.
        key: `HostKey.text`.
    """

    server_id: int
    host: str
    port: int
    key: str


def verify_host_key(
    shown: HostKey,
    *,
    host: str,
    port: int,
    known_hosts: KnownHosts,
    server_name: str | None = None,
    pinned: str | None = None,
    on_first_use: Callable[[str], None] | None = None,
) -> str:
    """Accept the key that a server showed, or raise.

    A key that known_hosts marks as revoked never passes. A pin, where there is one, decides alone;
    else known_hosts does. A server of which both know nothing passes only with `on_first_use`.

    Args:
        shown: the key, proven by the key exchange.
        host: name or address as written in the inventory.
        port: port of the server.
        known_hosts: what the file says.
        server_name: name in the inventory, for messages; None for a jump host, which has no pin.
        pinned: `HostKey.text` of the pin; None means that nothing is pinned.
        on_first_use: takes the text of the key to pin it, before anything else is told to the
            server; None means that an unknown key is refused.

    Returns:
        Who vouches for the key, in words.

    Raises:
        CollectionError: host_key_unknown, or host_key_changed (also for a revoked key).
    """
    if pinned is not None:
        known_hosts.refuse_revoked(host, port, key_type=shown.key_type, key_blob=shown.blob)
        if pinned != shown.text:
            raise _not_the_pin(
                shown,
                HostKey.parse(pinned),
                name=host_name_in_file(host, port),
                server_name=server_name,
                line_number=known_hosts.line_of(host, port, key_blob=shown.blob),
                known_hosts=known_hosts,
            )
        return "pinned"
    try:
        known_hosts.verify(
            host, port, key_type=shown.key_type, key_blob=shown.blob, server_name=server_name
        )
    except CollectionError as error:
        if error.cause != "host_key_unknown" or on_first_use is None:
            raise
        on_first_use(shown.text)
        return "pinned now, at first use"
    return "known_hosts"


def _not_the_pin(
    shown: HostKey,
    pinned: HostKey,
    *,
    name: str,
    server_name: str | None,
    line_number: int | None,
    known_hosts: KnownHosts,
) -> CollectionError:
    """The server shows another key than the one that is pinned."""
    trust = f"resmon server trust {server_name}"
    in_file = (
        ""
        if line_number is None
        else (
            f" {known_hosts.path} has the new key (line {line_number}), but a pin decides alone; "
            f"`{trust} --forget` drops the pin and leaves it to that file."
        )
    )
    msg = (
        f"Host key of {name} changed: it showed {shown}, pinned is {pinned}. Either the machine "
        "was reinstalled or got new keys, or somebody is in between. Compare the fingerprint on "
        f"the machine itself; if it is right, run `{trust}`.{in_file}"
    )
    return CollectionError(msg, cause="host_key_changed", step="host_key")
