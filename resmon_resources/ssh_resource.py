"""The SSH resource of Dagster: settings of the fleet in, connections out.

Belongs here: translation of configuration into a Fleet. How connections work is in fleet.py and
ssh.py.
"""

from pathlib import Path

from dagster import ConfigurableResource
from pydantic import Field

from resmon_resources.fleet import Fleet
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.settings import load_settings

LINGER_SECONDS = 0.05
"""A collector sees answers this much later at most, and commits only every second anyway; it wakes
20 times a second instead of up to twice per sample."""


class SshResource(ConfigurableResource):  # type: ignore[type-arg] # the resource is its own value
    """How servers are reached."""

    known_hosts: str = Field(
        default="",
        description="OpenSSH known_hosts file; empty means RESMON_KNOWN_HOSTS.",
    )
    workers: int = Field(
        default=32,
        ge=1,
        le=64,
        description="Logins at the same time; each waits in a thread of its own.",
    )

    def host_keys(self) -> KnownHosts:
        """The known_hosts file, parsed when a host is looked up."""
        return KnownHosts(
            Path(self.known_hosts).expanduser() if self.known_hosts else load_settings().known_hosts
        )

    def fleet(self) -> Fleet:
        """A new, empty fleet; nothing is connected before `reconcile`."""
        return Fleet(
            known_hosts=self.host_keys(),
            trusts_first_use=load_settings().trusts_first_use,
            workers=self.workers,
            linger_seconds=LINGER_SECONDS,
        )
