"""What a command loads before it does anything.

All are asked in one process of their own: in this one everything is loaded already.
"""

import json
import subprocess
import sys

import pytest

HEAVY = ("dagster", "polars", "pyarrow", "scipy", "statsmodels", "matplotlib", "sqlalchemy")
"""Up to seconds of CPU and 200 MB each."""

SSH = ("paramiko", "apprise")
"""Only for commands that connect or send."""

ALLOWED = {
    **dict.fromkeys(("server test", "server trust", "server authorize-line", "collect"), SSH),
    **dict.fromkeys(("demo create", "demo remove"), HEAVY + SSH),
}
"""Command -> what it may load when it is called, for a mere --help too; asked after all others."""

PROGRAM = f"""
import json, sys
import click
from resmon_cli.lazy import LazyGroup
from resmon_cli.main import cli

def leaves(group, path=()):
    for name in group.list_commands(click.Context(group)):
        at = " ".join((*path, name))
        if at in {list(ALLOWED)}:
            later.append((group, name, at))
            continue
        load(group, name, at)

def load(group, name, at):
    command = group.get_command(click.Context(group), name)
    found[at] = [one for one in {HEAVY + SSH} if one in sys.modules and one not in seen]
    seen.update(found[at])
    if isinstance(command, click.Group):
        leaves(command, (*at.split(),))

found, seen, later = {{}}, set(), []
leaves(cli)
for one in later:
    load(*one)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """Command -> which of the heavy modules it was the first to load."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_commands_are_there_without_what_they_may_never_use(loaded: dict[str, list[str]]) -> None:
    """Would let back: seconds of imports before `resmon alert list` asks the database."""
    wrong = {
        command: modules
        for command, modules in loaded.items()
        if not set(modules) <= set(ALLOWED.get(command, ()))
    }
    assert not wrong


def test_every_command_was_asked(loaded: dict[str, list[str]]) -> None:
    """Would let back: a test of nothing, when the commands are listed in another way."""
    assert {"up", "status", "alert list", "server list", "quota set", "collect"} <= set(loaded)
    assert len(loaded) > 70
    assert "paramiko" in {module for modules in loaded.values() for module in modules}
