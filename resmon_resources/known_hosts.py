"""Host keys: OpenSSH known_hosts read once into an index, and the strict check of a server's key.

Belongs here: parsing, matching and judging of known_hosts lines. Knows nothing of connections and
of pins (host_keys.py); what the file does not vouch for is refused here, always.
"""

import base64
import binascii
import hashlib
import hmac
import logging
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path

from resmon_resources.errors import CollectionError

_LOG = logging.getLogger(__name__)

SSH_PORT = 22

_HASH_MAGIC = "|1|"
_REVOKED = "@revoked"
_CERTIFICATE_AUTHORITY = "@cert-authority"


def fingerprint(key_blob: bytes) -> str:
    """SHA256 fingerprint of a public key in wire form, as `ssh-keygen -l` prints it."""
    digest = base64.b64encode(hashlib.sha256(key_blob).digest()).decode("ascii")
    return f"SHA256:{digest.rstrip('=')}"


def host_name_in_file(host: str, port: int) -> str:
    """Name under which known_hosts lists a server: bare for port 22, else `[host]:port`."""
    return host.lower() if port == SSH_PORT else f"[{host.lower()}]:{port}"


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One key of one line.

    Attributes:
        key_type: as in the file, for example ssh-ed25519.
        blob: public key in wire form.
        is_revoked: the line is marked @revoked.
        line_number: where it stands.
    """

    key_type: str
    blob: bytes
    is_revoked: bool
    line_number: int


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A line whose host field has wildcards or negations."""

    accept: tuple[re.Pattern[str], ...]
    refuse: tuple[re.Pattern[str], ...]
    key: KnownKey

    def matches(self, name: str) -> bool:
        """Whether some pattern accepts the name and none refuses it."""
        return any(p.fullmatch(name) for p in self.accept) and not any(
            p.fullmatch(name) for p in self.refuse
        )


@dataclass(slots=True)
class KnownHostsIndex:
    """The lines of known_hosts, arranged for lookup by name.

    A hashed line has its own salt, so a name costs one HMAC per line (2 to 5 us measured). Each
    name is tried once, and a line that matched never again: n hashed hosts cost n*n/2 HMACs after
    each change of the file, 2 s for 1,000 and minutes for 10,000. Large fleets keep plain names, or
    pin: of a pinned server no name is looked up.

    Attributes:
        exact: keys by name, of plain lines and of hashed ones that were found.
        hashed: salt, digest and key of the other hashed lines.
        patterns: lines with wildcards or negations.
        ignored: what is wrong with lines that cannot be used.
        revoked: every key that some line revokes, for whatever host.
    """

    exact: dict[str, list[KnownKey]] = field(default_factory=dict)
    hashed: list[tuple[bytes, bytes, KnownKey]] = field(default_factory=list)
    patterns: list[_Pattern] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    revoked: set[bytes] = field(default_factory=set)
    _tried: set[str] = field(default_factory=set)

    def keys_of(self, name: str) -> list[KnownKey]:
        """Keys of a name in the form of `host_name_in_file`, plain lines before patterns."""
        if name not in self._tried:
            self._tried.add(name)
            encoded = name.encode()
            found = [
                line for line in self.hashed if hmac.digest(line[0], encoded, "sha1") == line[1]
            ]
            for line in found:
                self.hashed.remove(line)
                self.exact.setdefault(name, []).append(line[2])
        return [*self.exact.get(name, ()), *(p.key for p in self.patterns if p.matches(name))]


def parse_known_hosts(text: str) -> KnownHostsIndex:
    """Index the text of a known_hosts file (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").

    A line that cannot be used (a certificate authority, an unknown marker, a broken key) is skipped
    and named in `ignored`; it never hides the other lines.
    """
    index = KnownHostsIndex()
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        marker = fields.pop(0) if fields[0].startswith("@") else ""
        if marker == _CERTIFICATE_AUTHORITY:
            index.ignored.append(f"line {number}: host certificates are not supported")
            continue
        if marker not in {"", _REVOKED}:
            index.ignored.append(f"line {number}: unknown marker {marker}")
            continue
        key = _key_of(fields, is_revoked=marker == _REVOKED, number=number)
        if key is None:
            index.ignored.append(f"line {number}: not a host key")
            continue
        if key.is_revoked:
            index.revoked.add(key.blob)
        _enter(index, fields[0], key)
    return index


def _key_of(fields: list[str], *, is_revoked: bool, number: int) -> KnownKey | None:
    """Key of the fields `hosts type base64 [comment]`, or None when they are not that."""
    if len(fields) < 3:  # noqa: PLR2004 - hosts, type, key
        return None
    try:
        blob = base64.b64decode(fields[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    if not blob:
        return None
    return KnownKey(fields[1], blob, is_revoked, number)


def _enter(index: KnownHostsIndex, hosts: str, key: KnownKey) -> None:
    """File a key under the host field of its line."""
    if hosts.startswith(_HASH_MAGIC):
        parts = hosts.split("|")
        try:
            salt, digest = (base64.b64decode(part, validate=True) for part in parts[2:])
        except (binascii.Error, ValueError):
            index.ignored.append(f"line {key.line_number}: not a hashed name")
            return
        index.hashed.append((salt, digest, key))
        return
    names = [name.lower() for name in hosts.split(",") if name]
    if any(name.startswith("!") or "*" in name or "?" in name for name in names):
        accept = tuple(_glob(name) for name in names if not name.startswith("!"))
        refuse = tuple(_glob(name[1:]) for name in names if name.startswith("!"))
        index.patterns.append(_Pattern(accept, refuse, key))
        return
    for name in names:
        index.exact.setdefault(name, []).append(key)


def _glob(pattern: str) -> re.Pattern[str]:
    """Pattern of ssh: only * and ? are special, brackets are literal."""
    parts = ({"*": ".*", "?": "."}.get(letter) or re.escape(letter) for letter in pattern)
    return re.compile("".join(parts))


class KnownHosts:
    """The known host keys of this account; safe for use by many threads.

    The file is read at the first question and again when it changed. A missing file is an empty
    one: every host is then unknown, and refused.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._index: KnownHostsIndex | None = None

    def stamp(self) -> tuple[int, int, int] | None:
        """What tells the present content of the file from an earlier one; None without a file."""
        return _stamp_of(self.path)

    def key_types(self, host: str, port: int) -> tuple[str, ...]:
        """Key types known for a host, so that the handshake asks for one of them first."""
        known = self._keys(host, port) or self._bare_keys(host)
        usable = (key.key_type for key in known if not key.is_revoked)
        return tuple(dict.fromkeys(usable))

    def trusted_keys(self, host: str, port: int) -> list[KnownKey]:
        """Keys that vouch for a host: those of its name with the port, else of the bare name."""
        known = [key for key in self._keys(host, port) if not key.is_revoked]
        return known or [key for key in self._bare_keys(host) if not key.is_revoked]

    def line_of(self, host: str, port: int, *, key_blob: bytes) -> int | None:
        """Number of the line that vouches for this key of a host; None when none does."""
        lines = (key.line_number for key in self.trusted_keys(host, port) if key.blob == key_blob)
        return next(lines, None)

    def refuse_revoked(self, host: str, port: int, *, key_type: str, key_blob: bytes) -> None:
        """Refuse a key that a line marks as revoked, whatever else vouches for it.

        Raises:
            CollectionError: host_key_changed.
        """
        with self._lock:
            if key_blob not in self._current_index().revoked:
                return  # without a lookup, which hashed lines make dear
        seen = [*self._keys(host, port), *self._bare_keys(host)]
        if any(key.is_revoked and key.blob == key_blob for key in seen):
            msg = (
                f"Host key of {host_name_in_file(host, port)} is {key_type} "
                f"{fingerprint(key_blob)}, and {self.path} marks it as revoked. Somebody with a "
                "withdrawn key answers; find out why before you remove the @revoked line."
            )
            raise CollectionError(msg, cause="host_key_changed", step="host_key")

    def verify(
        self,
        host: str,
        port: int,
        *,
        key_type: str,
        key_blob: bytes,
        server_name: str | None = None,
    ) -> None:
        """Accept the key that a server showed, or raise.

        Args:
            host: name or address as written in the inventory.
            port: port of the server.
            key_type: type of the key, for example ssh-ed25519.
            key_blob: public key in wire form.
            server_name: name in the inventory, for the remedy; None for a jump host.

        Raises:
            CollectionError: host_key_unknown, or host_key_changed (also for a revoked key).
        """
        self.refuse_revoked(host, port, key_type=key_type, key_blob=key_blob)
        known = self._keys(host, port)
        shown = f"{key_type} {fingerprint(key_blob)}"
        name = host_name_in_file(host, port)
        trust = "" if server_name is None else f"`resmon server trust {server_name}`, or "
        trusted = [key for key in known if not key.is_revoked]
        # As ssh does: a key listed without the port vouches for every port, and accuses none.
        if any(key.blob == key_blob for key in self.trusted_keys(host, port)):
            return
        if trusted:
            expected = ", ".join(
                f"{key.key_type} {fingerprint(key.blob)} (line {key.line_number})"
                for key in trusted
            )
            msg = (
                f"Host key of {name} changed: it showed {shown}, {self.path} has {expected}. "
                "Either the machine was reinstalled or got new keys, or somebody is in between. "
                f"Compare the fingerprint on the machine itself; if it is right, run {trust}"
                f"`ssh-keygen -R '{name}' -f {self.path}` and add the new key."
            )
            raise CollectionError(msg, cause="host_key_changed", step="host_key")
        scan = f"ssh-keyscan {host}" if port == SSH_PORT else f"ssh-keyscan -p {port} {host}"
        msg = (
            f"Host key of {name} is not in {self.path}; it showed {shown}. Compare the fingerprint "
            "with the machine's own (`ssh-keygen -lf /etc/ssh/ssh_host_..._key.pub` there), then "
            f"run {trust}`{scan} >> {self.path}`."
        )
        raise CollectionError(msg, cause="host_key_unknown", step="host_key")

    def _keys(self, host: str, port: int) -> list[KnownKey]:
        """Keys of a host under its name with the port."""
        with self._lock:
            return self._current_index().keys_of(host_name_in_file(host, port))

    def _bare_keys(self, host: str) -> list[KnownKey]:
        """Keys of a host under its name alone."""
        with self._lock:
            return self._current_index().keys_of(host.lower())

    def _current_index(self) -> KnownHostsIndex:
        """Index of the file as it is now; the caller holds the lock."""
        stamp = _stamp_of(self.path)
        if self._index is not None and stamp == self._stamp:
            return self._index
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            text = ""
        except OSError as error:
            _LOG.warning("Could not read the host keys in %s: %s", self.path, error)
            text = ""
        self._index = parse_known_hosts(text)
        self._stamp = stamp
        for reason in self._index.ignored:
            _LOG.warning("Skipped in %s: %s", self.path, reason)
        return self._index


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    """What tells one content of a file from another; None when there is no file to see."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
