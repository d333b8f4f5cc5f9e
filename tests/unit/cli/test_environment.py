"""The state folder and the variables for other programs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from resmon_cli import environment
from resmon_cli.main import cli
from resmon_resources.errors import StateUnusable
from resmon_resources.settings import PROJECT_ROOT, Settings, load_settings
from resmon_resources.state_folder import LAYOUT_VERSION

EXTERNAL = "postgresql://ann:s3cret%40@db.invalid:6543/fleet?sslmode=require"


def settings_of(home: Path, **variables: str) -> Settings:
    return load_settings({"RESMON_HOME": str(home), **variables})


@pytest.fixture
def silent_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is tried."""
    monkeypatch.setattr(environment, "is_reachable", lambda _: False)


def test_links_lead_to_where_the_ui_listens(tmp_path: Path) -> None:
    """Would let back: links to port 3000 of a `resmon up --port 4000`."""
    settings = settings_of(tmp_path / "a home")
    environment.prepare_home(settings)
    assert environment.ui_address(settings, {}) == "http://127.0.0.1:3000"
    environment.note_ui_address(settings, "http://127.0.0.1:4000")
    assert environment.ui_address(settings, {}) == "http://127.0.0.1:4000"
    public = {"RESMON_UI_URL": "https://resmon.example.org"}
    told = settings_of(tmp_path / "a home", **public)
    assert environment.ui_address(told, public) == "https://resmon.example.org"


def test_home_is_prepared_twice(tmp_path: Path) -> None:
    """Would let back: a second `resmon up` that fails on what the first one made."""
    settings = settings_of(tmp_path / "a home")
    environment.prepare_home(settings)
    environment.prepare_home(settings)
    linked = environment.dagster_home(settings) / "dagster.yaml"
    assert linked.read_text("utf-8") == (PROJECT_ROOT / "dagster.yaml").read_text("utf-8")
    assert environment.run_folder(settings).stat().st_mode & 0o777 == 0o700
    assert environment.compute_log_folder(settings).is_dir()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (json.dumps({"layout": LAYOUT_VERSION + 1}), "has layout"),
        (json.dumps({"layout": LAYOUT_VERSION, "owner_uid": os.geteuid() + 1}), "belongs to"),
        ("[]", "cannot be read"),
        ("{", "cannot be read"),
    ],
)
def test_a_home_of_another_version_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    """Would let back: an old release that writes into the folder of a newer one."""
    (tmp_path / "version.json").write_text(content, "utf-8")
    with pytest.raises(StateUnusable, match=reason):
        environment.prepare_home(settings_of(tmp_path))
    assert not (tmp_path / "dagster").exists()


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    """Would let back: a traceback as the first thing that a newcomer sees."""
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(StateUnusable, match="RESMON_HOME"):
        environment.prepare_home(settings_of(tmp_path / "file" / "home"))


def test_a_moved_project_gets_its_link_renewed(tmp_path: Path) -> None:
    """Would let back: a DAGSTER_HOME that points to a folder that is gone."""
    source, target = tmp_path / "new.yaml", tmp_path / "dagster.yaml"
    source.write_text("a: 1\n", "utf-8")
    target.symlink_to(tmp_path / "gone.yaml")
    environment.link_dagster_yaml(source, target)
    assert target.read_text("utf-8") == "a: 1\n"


def test_a_file_of_the_user_is_left_alone(tmp_path: Path) -> None:
    """Would let back: a start that overwrites what an operator has tuned."""
    source, target = tmp_path / "ours.yaml", tmp_path / "dagster.yaml"
    source.write_text("a: 1\n", "utf-8")
    target.write_text("mine: 2\n", "utf-8")
    environment.link_dagster_yaml(source, target)
    assert target.read_text("utf-8") == "mine: 2\n"


def test_a_copy_is_renewed_where_links_are_not_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: a copy of last year's configuration that nobody renews."""

    def refuse(*_: object) -> None:
        raise OSError(1, "no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    source, target = tmp_path / "ours.yaml", tmp_path / "dagster.yaml"
    for text in ("a: 1\n", "a: 2\n"):
        source.write_text(text, "utf-8")
        environment.link_dagster_yaml(source, target)
        assert target.read_text("utf-8").endswith(text)


def test_the_socket_lies_in_the_home_when_it_can(tmp_path: Path) -> None:
    """Would let back: a socket in a shared folder without need."""
    settings = settings_of(Path("/h"))
    assert environment.code_socket(settings) == Path("/h/run/code.sock")


@pytest.mark.parametrize("name", ["with space", "x" * 90])
def test_the_socket_of_an_awkward_home_is_short_and_private(tmp_path: Path, name: str) -> None:
    """Would let back: a code server that cannot bind, or one that everybody can talk to."""
    path = environment.code_socket(
        settings_of(tmp_path / name), environment={"XDG_RUNTIME_DIR": str(tmp_path)}
    )
    assert path.parent.parent == tmp_path
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_two_awkward_homes_have_two_sockets(tmp_path: Path) -> None:
    """Would let back: two platforms of one user that share a code server."""
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}
    one = environment.code_socket(settings_of(tmp_path / "a 1"), environment=env)
    two = environment.code_socket(settings_of(tmp_path / "a 2"), environment=env)
    assert one != two


def test_an_open_socket_folder_is_refused(tmp_path: Path) -> None:
    """Would let back: a folder that somebody else laid out in /tmp to run code as us."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(StateUnusable, match="only this user"):
        environment.make_private_folder(folder)


def test_variables_of_an_external_database(tmp_path: Path) -> None:
    """Would let back: psql and Dagster that open another database than Resmon."""
    variables = environment.shell_variables(
        settings_of(tmp_path, RESMON_POSTGRES_DSN=EXTERNAL), current_path="/bin"
    )
    assert variables["PGHOST"] == "db.invalid"
    assert variables["PGPORT"] == "6543"
    assert variables["PGUSER"] == "ann"
    assert variables["PGDATABASE"] == "fleet"
    assert variables["PGSSLMODE"] == "require"
    assert variables["PGPASSWORD"] == "s3cret@"
    assert variables["RESMON_POSTGRES_DSN"] == EXTERNAL
    assert "fleet_dagster" in variables["RESMON_DAGSTER_URL"]


def test_a_beta_notice_of_dagster_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would let back: five warnings about our own assets before the answer of each command."""
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    quiet = environment.service_variables(settings_of(Path("/nowhere")))["PYTHONWARNINGS"]
    code = "import warnings; warnings.warn('Parameter `backfill_policy` is beta'); print('ok')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONWARNINGS": quiet},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("ok\n", "")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    mine = environment.service_variables(settings_of(Path("/nowhere")))["PYTHONWARNINGS"]
    assert mine == "error", "the person's own choice stands"


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """Would let back: a password in the scroll-back of a terminal, or in a CI log."""
    variables = environment.shell_variables(
        settings_of(tmp_path, RESMON_POSTGRES_DSN=EXTERNAL), current_path="/bin"
    )
    shown, is_hidden = environment.without_secrets(variables)
    assert is_hidden
    assert "s3cret" not in str(shown)
    assert "ann@db.invalid" in shown["RESMON_DAGSTER_URL"]


def test_without_a_password_nothing_is_hidden(tmp_path: Path) -> None:
    """Would let back: a warning about a secret that does not exist."""
    variables = environment.shell_variables(settings_of(tmp_path), current_path="/bin")
    shown, is_hidden = environment.without_secrets(variables)
    assert not is_hidden
    assert shown["RESMON_DAGSTER_URL"] == variables["RESMON_DAGSTER_URL"]


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("postgresql://u:p@h/d", "postgresql://u@h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql:///d?host=%2Frun&user=u", "postgresql:///d?host=%2Frun&user=u"),
        ("postgresql://h/d?password=p&user=u", "postgresql://h/d?user=u"),
        ("postgresql://h/d?user=u&password=p", "postgresql://h/d?user=u"),
        ("postgresql://h/d?password=p", "postgresql://h/d"),
        ("postgresql://u:p:with%3Acolon@h/d", "postgresql://u@h/d"),
    ],
)
def test_without_password(url: str, bare: str) -> None:
    """Would let back: a password at the other place where a URL may hold one."""
    assert environment.without_password(url) == bare


def test_path_holds_each_folder_once(tmp_path: Path) -> None:
    """Would let back: a PATH that grows with every `eval`."""
    settings = settings_of(tmp_path)
    once = environment.search_path(settings, current="/usr/bin:/bin")
    assert environment.search_path(settings, current=once) == once
    assert once.endswith(":/usr/bin:/bin")


@pytest.mark.usefixtures("silent_database")
def test_env_can_be_evaluated_by_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would let back: a folder with a space or a quote that breaks `eval "$(resmon env)"`."""
    home = tmp_path / "it's a home"
    monkeypatch.setenv("RESMON_HOME", str(home))
    monkeypatch.delenv("RESMON_POSTGRES_DSN", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    outcome = CliRunner().invoke(cli, ["env"])
    assert outcome.exit_code == 0
    shell = subprocess.run(
        ["/bin/sh", "-c", f'{outcome.stdout}\nprintf %s "$DAGSTER_HOME"; command -v psql'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout.startswith(str(home / "dagster"))
    assert "pginstall" in shell.stdout
    assert "does not answer" in outcome.stderr
    assert "resmon db start" in outcome.stderr


@pytest.mark.usefixtures("silent_database")
def test_env_explains_a_hidden_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would let back: a person who wonders why Dagster is refused by the database."""
    monkeypatch.setenv("RESMON_HOME", str(tmp_path))
    monkeypatch.setenv("RESMON_POSTGRES_DSN", EXTERNAL)
    outcome = CliRunner().invoke(cli, ["env"])
    assert outcome.exit_code == 0
    assert "PGPASSWORD" in outcome.stderr
    assert "PGPASSWORD" not in outcome.stdout
    assert "s3cret" not in outcome.output
    assert "RESMON_POSTGRES_DSN and the server behind it" in outcome.stderr


def run_exec(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """`resmon exec` as a process of its own, because it replaces itself."""
    return subprocess.run(
        [
            *(sys.executable, "-c", "from resmon_cli.main import main; main()"),
            *("exec", "--", *command),
        ],
        env={**os.environ, "RESMON_HOME": str(home), "XDG_RUNTIME_DIR": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_exec_runs_a_command_with_the_variables(tmp_path: Path) -> None:
    """Would let back: `resmon exec` that eats the options of its command, or its exit status."""
    code = "import os, sys; print(os.environ['DAGSTER_HOME'], sys.argv[1:]); sys.exit(7)"
    outcome = run_exec(tmp_path, sys.executable, "-c", code, "--help", "-x")
    assert outcome.returncode == 7
    assert outcome.stdout == f"{tmp_path}/dagster ['--help', '-x']\n"


def test_exec_of_a_missing_program(tmp_path: Path) -> None:
    """Would let back: a traceback for a typing error."""
    outcome = run_exec(tmp_path, "no-such-program")
    assert outcome.returncode == 127
    assert "no-such-program was not found" in outcome.stderr


def test_exec_of_something_that_is_no_program(tmp_path: Path) -> None:
    """Would let back: a traceback for a file without the permission to be executed."""
    (tmp_path / "text").write_text("", "utf-8")
    outcome = run_exec(tmp_path, str(tmp_path / "text"))
    assert outcome.returncode == 126
    assert "could not be started" in outcome.stderr
