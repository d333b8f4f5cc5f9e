"""`resmon demo`: the group of everything about the demo fleet.

Belongs here: the list of its commands, loaded when called: a status loads no asset graph.
"""

import click

from resmon_cli.lazy import LazyGroup, Modules

COMMANDS: Modules = {
    "create": ("resmon_cli.demo_make", "Make the fleet, its history, reports and forecasts."),
    "status": ("resmon_cli.demo_report", "How far it is made, and what was planted in it."),
    "check": ("resmon_cli.demo_report", "Compare reports and forecasts with what was planted."),
    "remove": ("resmon_cli.demo_make", "Take it away: all of its rows, and nothing else."),
}
"""Command -> (module, one line of help)."""


@click.group("demo", cls=LazyGroup, modules=COMMANDS)
def demo_command() -> None:
    """A demo fleet with weeks of history: servers that do not exist, clearly marked.

    Its servers are named demo-..., lie in the organization demo, and are paused: nobody connects to
    them, and no alarm is raised about them. Incidents, growing disks and leaks are planted in the
    history; `resmon demo check` compares them with what anomaly reports and forecasts say.
    """
