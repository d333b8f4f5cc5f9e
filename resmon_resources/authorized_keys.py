"""authorized_keys: the line that lets Resmon's key run the probe on a host and nothing else.

Belongs here: the text of that line and what may stand in it (pure). Which key a server is reached
with is ssh.py's. Imports the probe's text.
"""

import ipaddress
import re
from collections.abc import Sequence

from resmon_resources.errors import ConfigurationInvalid
from resmon_resources.probe.program import forced_command

LONGEST_LINE_BYTES = 8 * 1024
"""No OpenSSH since 7.2 (which brought `restrict`) cuts a line below this; a test holds us to it."""

_PATTERN = re.compile(r"!?[0-9A-Za-z.:*?_-]+")
_COMMENT = re.compile(r"[^0-9A-Za-z@._+-]+")


def authorized_keys_line(public_key: str, *, comment: str, sources: Sequence[str] = ()) -> str:
    """One line, without its newline, for authorized_keys of the account that Resmon logs in to.

    Args:
        public_key: type and base64, as in a .pub file.
        comment: tells the reader of the file whose line it is; what is no word is made one.
        sources: addresses, networks or name patterns that the login may come from; none: any.

    Raises:
        ConfigurationInvalid: a source that sshd would not understand.
    """
    options = ["restrict"]
    if sources:
        options.append(f'from="{",".join(_checked_source(source) for source in sources)}"')
    # Of what stands between the quotes sshd reads \" as " and every other character as it is.
    quoted = forced_command().replace('"', '\\"')
    options.append(f'command="{quoted}"')
    return f"{','.join(options)} {public_key} {_COMMENT.sub('-', comment).strip('-') or 'resmon'}"


def _checked_source(source: str) -> str:
    """A network, address or pattern; a network with host bits would refuse every login."""
    if "/" in source:
        try:
            ipaddress.ip_network(source.removeprefix("!"))
        except ValueError as error:
            msg = f"{source!r} cannot be a source of logins: {error}. Example: 192.0.2.0/24"
            raise ConfigurationInvalid(msg) from error
        return source
    if not _PATTERN.fullmatch(source):
        msg = (
            f"{source!r} cannot be a source of logins: an address, a network (192.0.2.0/24) or a "
            "name pattern (*.example.org) is expected."
        )
        raise ConfigurationInvalid(msg)
    return source
