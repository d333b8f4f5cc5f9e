"""The state folder, and what other programs need to know of it: `resmon env` and `resmon exec`.

Belongs here: the layout of RESMON_HOME, preparing DAGSTER_HOME, the variables for dagster and psql,
printing them for a shell or running one command with them. Starts no service.

    RESMON_HOME/
    ├── version.json      layout of this folder, and whose it is
    ├── up.lock           held while `resmon up` runs
    ├── dagster/          DAGSTER_HOME: dagster.yaml (linked to the project's)
    ├── logs/             one log per service, and compute/ for the output of runs
    └── run/              records of children, workspace.yaml with the socket, the socket itself
"""

import os
import re
import shlex
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click
import psycopg
from psycopg.conninfo import conninfo_to_dict

from resmon_resources.embedded_postgres import binaries, dagster_url, data_url
from resmon_resources.errors import StateUnusable
from resmon_resources.settings import PROJECT_ROOT, Settings, load_settings
from resmon_resources.state_folder import claim_state_folder

PRIVATE_MODE = 0o700
_COPY_MARK = "# Copied by resmon because a link was not possible; changes here are overwritten.\n"
_UI_ADDRESS = "ui_address"
_SOCKET_PATH_LIMIT = 90
"""Bytes; the system allows 107 (Linux) or 103 (macOS) for a socket's path."""

_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")

_LIBPQ_NAMES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "dbname": "PGDATABASE",
    "password": "PGPASSWORD",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
}
_NOT_RUNNING_SECONDS = 2


def dagster_home(settings: Settings) -> Path:
    """DAGSTER_HOME."""
    return settings.home / "dagster"


def log_folder(settings: Settings) -> Path:
    """Where services write their logs."""
    return settings.home / "logs"


def run_folder(settings: Settings) -> Path:
    """Records of children, and our own workspace file."""
    return settings.home / "run"


def note_ui_address(settings: Settings, url: str) -> None:
    """Let other commands know where the UI of this folder's `resmon up` listens."""
    (run_folder(settings) / _UI_ADDRESS).write_text(url + "\n", "utf-8")


def ui_address(settings: Settings, environment: Mapping[str, str] | None = None) -> str:
    """Where links lead: RESMON_UI_URL, else where `resmon up` listened last, else its default."""
    env = os.environ if environment is None else environment
    if env.get("RESMON_UI_URL"):
        return settings.ui_url
    try:
        return (run_folder(settings) / _UI_ADDRESS).read_text("utf-8").strip() or settings.ui_url
    except OSError:
        return settings.ui_url


def up_lock_path(settings: Settings) -> Path:
    """File that is locked while `resmon up` runs."""
    return settings.home / "up.lock"


def prepare_home(settings: Settings) -> None:
    """Make the folders of RESMON_HOME and link dagster.yaml; may be repeated.

    Raises:
        StateUnusable: the folder has another layout, or cannot be written.
    """
    home = settings.home
    claim_state_folder(home)
    try:
        for folder in (dagster_home(settings), log_folder(settings), run_folder(settings)):
            folder.mkdir(mode=PRIVATE_MODE, exist_ok=True)
        compute_log_folder(settings).mkdir(mode=PRIVATE_MODE, exist_ok=True)
        link_dagster_yaml(PROJECT_ROOT / "dagster.yaml", dagster_home(settings) / "dagster.yaml")
    except OSError as error:
        msg = (
            f"The state folder {home} cannot be prepared: {error}. Give Resmon a folder that this "
            "user can write by the variable RESMON_HOME, or correct the permissions."
        )
        raise StateUnusable(msg) from error


def compute_log_folder(settings: Settings) -> Path:
    """Where the output of runs is kept."""
    return log_folder(settings) / "compute"


def link_dagster_yaml(source: Path, target: Path) -> None:
    """Link `target` to `source`, or copy it where links are not possible.

    A file of the user's own (a plain file without our mark) is left alone.
    """
    if target.is_symlink():
        if target.readlink() == source:
            return
        target.unlink()
    elif target.exists():
        if not target.read_text("utf-8").startswith(_COPY_MARK):
            return
        target.unlink()
    try:
        target.symlink_to(source)
    except OSError:
        target.write_text(_COPY_MARK + source.read_text("utf-8"), "utf-8")


def code_socket(settings: Settings, *, environment: Mapping[str, str] | None = None) -> Path:
    """Path of the code server's socket: short, plain, in a folder that only we may enter.

    Whoever can connect to it can run code as us, hence the private folder.

    Raises:
        StateUnusable: the folder belongs to somebody else.
    """
    path = run_folder(settings) / "code.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT and _PLAIN_PATH.fullmatch(str(path)):
        return path
    env = os.environ if environment is None else environment
    name = f"resmon-{os.getuid()}-{settings.home_digest}"
    folder = Path(env.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / name
    make_private_folder(folder)
    return folder / "code.sock"


def make_private_folder(folder: Path) -> None:
    """Make a folder that only this user may enter, or verify that it is one.

    Raises:
        StateUnusable: something else lies there (in a shared place anybody may have put it there).
    """
    folder.mkdir(mode=PRIVATE_MODE, exist_ok=True)
    found = folder.lstat()
    is_ours = found.st_uid == os.getuid() and stat.S_ISDIR(found.st_mode)
    if not is_ours or stat.S_IMODE(found.st_mode) & 0o077:
        msg = (
            f"{folder} is needed for a private socket, but it is not a folder that only this user "
            "may enter. Remove it, or choose a shorter RESMON_HOME so that it is not needed."
        )
        raise StateUnusable(msg)


QUIET = "ignore:Parameter `backfill_policy`"
"""Dagster calls its own parameter beta, once per asset, in every process that loads them."""


def service_variables(settings: Settings) -> dict[str, str]:
    """What Dagster's programs and our assets need; absolute, so that it holds in any folder."""
    variables = {
        "DAGSTER_HOME": str(dagster_home(settings)),
        "RESMON_HOME": str(settings.home),
        "RESMON_SQL_PATH": str(settings.sql_path),
        "RESMON_DAGSTER_URL": dagster_url(settings),
        "RESMON_LOG_DIR": str(compute_log_folder(settings)),
        "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS") or QUIET,
    }
    if settings.postgres_dsn is not None:
        variables["RESMON_POSTGRES_DSN"] = settings.postgres_dsn
    return variables


def libpq_variables(url: str) -> dict[str, str]:
    """PG* variables that make psql and libpq open the same database as `url`."""
    facts = conninfo_to_dict(url)
    return {
        name: str(facts[key])
        for key, name in _LIBPQ_NAMES.items()
        if facts.get(key) not in (None, "")
    }


def search_path(settings: Settings, *, current: str) -> str:
    """PATH with our programs, and the embedded server's, in front; each folder once."""
    folders = [sysconfig.get_path("scripts")]
    if settings.is_embedded:
        folders.append(str(binaries()))
    rest = [part for part in current.split(os.pathsep) if part and part not in folders]
    return os.pathsep.join([*folders, *rest])


def shell_variables(settings: Settings, *, current_path: str) -> dict[str, str]:
    """All variables for a shell or a command, secrets included."""
    return {
        **service_variables(settings),
        **libpq_variables(data_url(settings)),
        "PATH": search_path(settings, current=current_path),
    }


def without_secrets(variables: Mapping[str, str]) -> tuple[dict[str, str], bool]:
    """The variables that may be shown, and whether a password was left out.

    libpq takes a missing password from PGPASSWORD or ~/.pgpass, so the rest still works there.
    RESMON_POSTGRES_DSN is not shown at all: whoever set it has it.
    """
    shown = {
        name: value
        for name, value in variables.items()
        if name not in ("PGPASSWORD", "RESMON_POSTGRES_DSN")
    }
    shown["RESMON_DAGSTER_URL"] = without_password(variables["RESMON_DAGSTER_URL"])
    is_hidden = (
        "PGPASSWORD" in variables
        or shown["RESMON_DAGSTER_URL"] != (variables["RESMON_DAGSTER_URL"])
    )
    return shown, is_hidden


def without_password(url: str) -> str:
    """A PostgreSQL URL without its password, wherever that stands."""
    bare = re.sub(r"^(\w+://[^/@:]*):[^/@]*@", r"\1@", url)
    bare = re.sub(r"([?&])password=[^&]*&?", r"\1", bare)
    return bare.rstrip("?&")


def is_reachable(url: str) -> bool:
    """Whether a connection can be made right now."""
    try:
        with psycopg.connect(url, connect_timeout=_NOT_RUNNING_SECONDS):
            return True
    except psycopg.OperationalError:
        return False


def warn_when_not_running(settings: Settings) -> None:
    """Say on standard error when the database does not answer, and what starts it."""
    if is_reachable(data_url(settings)):
        return
    remedy = (
        "Start it with `resmon up`, or alone with `resmon db start`."
        if settings.is_embedded
        else "Check RESMON_POSTGRES_DSN and the server behind it."
    )
    click.echo(f"# The database does not answer. {remedy}", err=True)


@click.command("env")
def env_command() -> None:
    """Print the variables that dagster and psql need, for `eval "$(resmon env)"`."""
    settings = load_settings()
    prepare_home(settings)
    variables = shell_variables(settings, current_path=os.environ.get("PATH", os.defpath))
    shown, is_hidden = without_secrets(variables)
    for name, value in shown.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    if is_hidden:
        click.echo(
            "# The password of the database is not printed. Set PGPASSWORD or ~/.pgpass, or run "
            "commands with `resmon exec -- COMMAND`, which passes it on.",
            err=True,
        )
    warn_when_not_running(settings)


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_command(command: tuple[str, ...]) -> None:
    """Run COMMAND with the variables of `resmon env`; it replaces this process."""
    settings = load_settings()
    prepare_home(settings)
    variables = shell_variables(settings, current_path=os.environ.get("PATH", os.defpath))
    warn_when_not_running(settings)
    replace_process(command, {**os.environ, **variables})


def replace_process(command: tuple[str, ...], environment: Mapping[str, str]) -> None:
    """Become `command`; only a failure returns, as exit status 127 or 126 like a shell."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 (the command is the user's own)
    except (FileNotFoundError, ValueError):  # ValueError: an empty name
        name = command[0] or "the empty name"
        click.echo(f"Error: {name} was not found on PATH={environment['PATH']}.", err=True)
        sys.exit(127)
    except OSError as error:
        click.echo(f"Error: {command[0]} could not be started: {error}.", err=True)
        sys.exit(126)
