"""Where the URLs of a route come from, and texts without what is secret in them.

Belongs here: `env:NAME` and `file:PATH`, read at the moment of use, and the one function that takes
secrets out of errors. Sends nothing; Apprise itself is only in sending_child.py.
"""

import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from resmon_resources.errors import ConfigurationInvalid

HIDDEN = "***"
"""In place of whatever may be secret."""

ERROR_CHARACTERS = 400
"""What is kept of an error; services like to answer with whole pages."""

# Where the host names a machine of the reader; elsewhere (slack://TOKEN/...) it is a secret itself.
_HOST_SCHEMES = frozenset(
    {"mailto", "mailtos", "json", "jsons", "xml", "xmls", "form", "forms", "mmost", "mmosts"}
    | {"ntfy", "ntfys", "gotify", "gotifys", "matrix", "matrixs", "rocket", "rockets", "http"}
    | {"https", "syslog", "rsyslog", "mqtt", "mqtts"}
)
_BETWEEN = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_PIECES = re.compile(r"[/:@?&=,#;]+")
_ANY_URL = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*)://[^\s'\"<>]+")
_WORDS = frozenset({"text", "html", "markdown", "true", "false", "post"})
"""Values of parameters that are ordinary words."""

_SHORTEST = 4
"""Shorter pieces are parts of ordinary words; a password is taken out whatever its length."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a route's URLs are read.

    Attributes:
        kind: `env` or `file`.
        name: the variable or the path.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        """For a person: `the environment variable OPS_URLS`."""
        words = "the environment variable" if self.kind == "env" else "the file"
        return f"{words} {self.name}"


def parse_target(text: str) -> Target:
    """Take `env:NAME` or `file:PATH` apart.

    Raises:
        ConfigurationInvalid: it is neither. The text is not quoted: it may be an address with a
            password.
    """
    kind, _, name = text.partition(":")
    if kind == "env" and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        return Target(kind, name)
    if kind == "file" and name and not name.startswith("//"):
        return Target(kind, str(Path(name).expanduser().absolute()))
    if "://" in text:
        msg = (
            "An address was given in place of its hiding place. It holds secrets, and those do not "
            "go into the database. Put it into a variable of the environment of `resmon up` and "
            "give env:NAME, or into a file that only its account can read (chmod 600) and give "
            "file:PATH."
        )
        raise ConfigurationInvalid(msg)
    msg = (
        "The target of a route is env:NAME (a variable in the environment of `resmon up`) or "
        "file:PATH (a file that it can read) where the URLs for Apprise are, one a line."
    )
    raise ConfigurationInvalid(msg)


def read_urls(target: Target, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The URLs at `target`, in their order; lines that begin with # are remarks.

    Raises:
        ConfigurationInvalid: the variable is not set, the file cannot be read, or there is no URL.
    """
    if target.kind == "env":
        text = environment.get(target.name, "")
        if not text.strip():
            msg = (
                f"The environment variable {target.name} is not set where messages are sent. Set "
                "it in the environment of `resmon up` and start that again, or put the URLs into a "
                "file and give the route file:PATH, which is read at each message."
            )
            raise ConfigurationInvalid(msg)
    else:
        text = _read_file(Path(target.name))
    lines = [line.strip() for line in text.splitlines() if not line.lstrip().startswith("#")]
    urls = tuple(url for line in lines for url in _BETWEEN.split(line) if url)
    wrong = [place for place, url in enumerate(urls, 1) if "://" not in url]
    if wrong or not urls:
        what = f"what stands at place {wrong[0]} is not a URL" if wrong else "there is no URL"
        msg = (
            f"In {target} {what}. Write the URLs for Apprise there, one a line "
            "(mailtos://user:password@smtp.example.org?to=ops@example.org, for example)."
        )
        raise ConfigurationInvalid(msg)
    return urls


def _read_file(path: Path) -> str:
    """Text of the file.

    Raises:
        ConfigurationInvalid: it cannot be read.
    """
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        msg = (
            f"The file {path} with the URLs of a route cannot be read: {reason}. Make it, one URL "
            "a line, for the account that runs `resmon up`, and chmod 600 it."
        )
        raise ConfigurationInvalid(msg) from error


def readers_problem(target: Target) -> str | None:
    """A sentence when others than the owner can read the file; None when all is well."""
    if target.kind != "file":
        return None
    try:
        status = Path(target.name).stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    mode = stat.S_IMODE(status.st_mode)
    if not mode & (stat.S_IRGRP | stat.S_IROTH):
        return None
    return (
        f"The file {target.name} can be read by others (mode {mode:03o}), and it holds secrets. "
        f"Close it: chmod 600 {target.name}"
    )


def scheme_of(url: str) -> str:
    """What stands before `://`, in lower case: the kind of service.

    `service` where it looks like anything else, for it is shown and stored.
    """
    scheme = url.partition("://")[0].strip().lower()
    return scheme if re.fullmatch(r"[a-z0-9]{2,12}", scheme) else "service"


def without_secrets(text: str, urls: Iterable[str]) -> str:
    """The text, bounded, without anything that stands in `urls`, and without any other URL.

    Taken out are the parts of each URL as they are, decoded and encoded: user, password, tokens,
    path, values, and the host where it is a token.
    """
    found = " ".join(text.split())
    secrets = {form for url in urls for piece in _secret_pieces(url) for form in _forms(piece)}
    for secret in sorted(secrets, key=len, reverse=True):
        found = re.sub(re.escape(secret), HIDDEN, found, flags=re.IGNORECASE)
    found = _ANY_URL.sub(rf"\1://{HIDDEN}", found)
    return found if len(found) <= ERROR_CHARACTERS else f"{found[: ERROR_CHARACTERS - 1]}…"


def _secret_pieces(url: str) -> set[str]:
    """Parts of a URL that must not be shown."""
    scheme, _, rest = url.partition("://")
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    userinfo, _, host = authority.rpartition("@")
    password = userinfo.partition(":")[2]
    shown = set()
    if scheme.lower() in _HOST_SCHEMES:
        shown = {host, host.partition(":")[0], host.rpartition(":")[2]}
    path, _, query = rest.partition("?")
    # Names of parameters are Apprise's words; what stands without a name may be anything.
    values = [item.partition("=")[2] or item for item in query.split("&")]
    pieces = {rest, userinfo, *_PIECES.split(path)}
    pieces |= {piece for value in values for piece in (value, *_PIECES.split(value))} - _WORDS
    kept = {p for p in pieces if len(unquote(p)) >= _SHORTEST and p not in shown}
    return kept | ({password} if password else set())


def _forms(piece: str) -> set[str]:
    """A part as it may come back: as it is, decoded, encoded."""
    plain = unquote(piece)
    return {piece, plain, quote(plain), quote(plain, safe="")}
