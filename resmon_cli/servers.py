"""`resmon server`: the group of everything about servers; its commands have modules of their own.

Belongs here: the list of these commands, loaded when called: only what connects loads SSH.
"""

import click

from resmon_cli.lazy import LazyGroup, Modules

COMMANDS: Modules = {
    "add": ("resmon_cli.servers_change", "Add a server; collection starts by itself."),
    "import": ("resmon_cli.import_servers", "Add servers from other programs' files."),
    "list": ("resmon_cli.servers_list", "List the servers."),
    "show": ("resmon_cli.servers_list", "Everything that is known about a server."),
    "edit": ("resmon_cli.servers_change", "Change what is given of a server."),
    "test": ("resmon_cli.probing", "Connect, and show each step and what its probe says."),
    "trust": ("resmon_cli.trust", "Show the host key of a server, and pin it."),
    "authorize-line": ("resmon_cli.authorizing", "The line for authorized_keys of a server."),
    "pause": ("resmon_cli.servers_change", "Stop collecting until servers are resumed."),
    "resume": ("resmon_cli.servers_change", "Collect from servers again."),
    "remove": ("resmon_cli.servers_change", "Take servers out of the inventory."),
}
"""Command -> (module, one line of help)."""


@click.group("server", cls=LazyGroup, modules=COMMANDS)
def server_command() -> None:
    """Servers are what Resmon collects from, every 30 seconds, over SSH or on this machine."""
