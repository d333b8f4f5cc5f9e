"""`resmon alert`: the group of everything about alerts; its commands have modules of their own.

Belongs here: the list of these commands, loaded when called.
"""

import click

from resmon_cli.lazy import LazyGroup, Modules

COMMANDS: Modules = {
    "list": ("resmon_cli.alerts_list", "Alerts that go on: who has them, who was told."),
    "show": ("resmon_cli.alerts_list", "One alert with its history and messages."),
    "ack": ("resmon_cli.alerts_change", "Take alerts on."),
    "unack": ("resmon_cli.alerts_change", "Give alerts back."),
    "resolve": ("resmon_cli.alerts_change", "End alerts by hand."),
    "note": ("resmon_cli.alerts_change", "Add a note to an alert."),
    "silence": ("resmon_cli.alert_silences", "Silences and maintenance: add, list, remove."),
    "rule": ("resmon_cli.alert_rules", "Rules: list, show, set, reset."),
    "replay": ("resmon_cli.alert_replay", "What a rule would have done on stored history."),
    "route": ("resmon_cli.alert_routes", "Routes: add, list, show, set, remove."),
    "test": ("resmon_cli.alert_test", "Send a message to a route now."),
    "outbox": ("resmon_cli.alert_outbox", "Messages that wait or were given up."),
}
"""Command -> (module, one line of help)."""


@click.group("alert", cls=LazyGroup, modules=COMMANDS)
def alert_command() -> None:
    """Alerts: what is wrong, which rules say so, and who is told."""
