"""Who runs a command, and what people agree to.

Belongs here: names of people for what is recorded, and questions to them.
"""

import getpass
import os

from resmon_resources.errors import ConfigurationInvalid


def account() -> str:
    """The account that runs the command; its number where it has no name, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def who(by: str | None) -> str:
    """Who is recorded: --by, or the account that runs the command.

    Raises:
        ConfigurationInvalid: --by is empty.
    """
    if by is None:
        return account()
    if not by.strip():
        msg = "--by is empty. Give a name, or leave it out."
        raise ConfigurationInvalid(msg)
    return by.strip()
