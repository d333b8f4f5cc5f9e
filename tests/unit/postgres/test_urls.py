"""Where the databases are: computed from the settings alone, the same in every process."""

import os
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

from resmon_resources import embedded_postgres
from resmon_resources.embedded_postgres import (
    dagster_url,
    data_directory,
    data_url,
    database_of,
    socket_directory,
    with_database,
)
from resmon_resources.errors import ConfigurationInvalid, StateUnusable
from resmon_resources.settings import load_settings


def settings(**environment: str):
    return load_settings({"RESMON_HOME": "/srv/re smon", **environment})


@pytest.fixture
def ordinary_user(monkeypatch):
    """As if started by an ordinary user."""
    monkeypatch.setattr(embedded_postgres, "_is_root", lambda: False)


@pytest.mark.parametrize("name_of", [data_url, dagster_url])
def test_embedded_url_is_read_alike_by_all_our_drivers(ordinary_user, name_of):
    """Lets back: a raw space in the host, which psycopg 3 cannot read."""
    url = name_of(settings())
    libpq = psycopg.conninfo.conninfo_to_dict(url)
    alchemy = sqlalchemy.engine.make_url(url)
    assert libpq["host"] == alchemy.query["host"] == "/srv/re smon/run"
    assert libpq["dbname"] == alchemy.database
    assert libpq["user"] == alchemy.username == "resmon"


def test_embedded_databases_are_apart(ordinary_user):
    """Lets back: Dagster's tables among the data."""
    assert database_of(data_url(settings())) == "resmon"
    assert database_of(dagster_url(settings())) == "resmon_dagster"


def test_external_urls_follow_the_data_dsn():
    """Lets back: Dagster's storage on another server than the operator named."""
    outside = settings(RESMON_POSTGRES_DSN="postgres://u:p%40ss@db.test:5433/data?sslmode=require")
    assert data_url(outside) == "postgresql://u:p%40ss@db.test:5433/data?sslmode=require"
    assert dagster_url(outside) == "postgresql://u:p%40ss@db.test:5433/data_dagster?sslmode=require"


def test_dagsters_own_dsn_wins():
    """Lets back: a setting that is read and ignored."""
    outside = settings(
        RESMON_POSTGRES_DSN="postgresql://u@h/data",
        RESMON_DAGSTER_POSTGRES_DSN="postgres://v@other/runs",
    )
    assert dagster_url(outside) == "postgresql://v@other/runs"


@pytest.mark.parametrize(
    ("dsn", "name", "moved"),
    [
        ("postgresql://h/a%20b", "a b", "postgresql://h/x%20y"),
        (
            "postgresql:///?dbname=d&host=%2Frun%2Fso%20ck",
            "d",
            "postgresql:///x%20y?host=%2Frun%2Fso%20ck",
        ),
        ("postgres://u@a,b:2/d", "d", "postgresql://u@a,b:2/x%20y"),
    ],
)
def test_database_of_a_url_is_found_and_replaced(dsn, name, moved):
    """Lets back: `dbname` in the query winning over the path that was replaced."""
    assert database_of(dsn) == name
    assert with_database(dsn, "x y") == moved


def test_a_url_without_a_database_is_refused():
    """Lets back: Dagster's storage in a database called `_dagster`."""
    with pytest.raises(ConfigurationInvalid, match="names no database"):
        dagster_url(settings(RESMON_POSTGRES_DSN="postgresql://u@h"))


def test_an_ordinary_users_state_lies_below_the_home(ordinary_user):
    """Lets back: files of one home in another's place."""
    assert data_directory(settings()) == Path("/srv/re smon/postgres")
    assert socket_directory(settings()) == Path("/srv/re smon/run")


def test_roots_state_lies_outside_and_apart_for_each_home(monkeypatch):
    """Lets back: two homes of root sharing one data folder."""
    monkeypatch.setattr(embedded_postgres, "_is_root", lambda: True)
    one, two = settings(), load_settings({"RESMON_HOME": "/srv/other"})
    for folder_of in (data_directory, socket_directory):
        assert folder_of(one) != folder_of(two)
        assert one.home_digest in folder_of(one).name


def test_a_long_home_uses_a_private_folder_below_tmp(ordinary_user, monkeypatch, tmp_path):
    """Lets back: no start from a deep folder, or a socket whose place depends on the session."""
    long = load_settings({"RESMON_HOME": "/" + "x" * 100})
    monkeypatch.setattr(embedded_postgres, "SHARED_TEMPORARY", tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    folder = socket_directory(long)
    assert folder == tmp_path / f"resmon-{os.getuid()}-{long.home_digest}"
    folder.mkdir(mode=0o700)
    assert socket_directory(long) == folder


@pytest.mark.parametrize("kind", ["open", "link", "file", "stranger"])
def test_a_folder_that_others_may_enter_is_refused(ordinary_user, monkeypatch, tmp_path, kind):
    """Lets back: a trust socket in a folder that somebody else has put there."""
    long = load_settings({"RESMON_HOME": "/" + "x" * 100})
    monkeypatch.setattr(embedded_postgres, "SHARED_TEMPORARY", tmp_path)
    folder = socket_directory(long)
    if kind == "link":
        folder.symlink_to(tmp_path)
    elif kind == "file":
        folder.touch(mode=0o600)
    else:
        folder.mkdir(mode=0o700)
    if kind == "open":
        folder.chmod(0o755)
    if kind == "stranger":
        owner = os.getuid()
        monkeypatch.setattr(embedded_postgres.os, "getuid", lambda: owner + 1)
        folder.rename(socket_directory(long))
    with pytest.raises(StateUnusable, match="only this user may enter"):
        socket_directory(long)


def test_the_length_limit_counts_bytes(ordinary_user, monkeypatch):
    """Lets back: a path of 60 letters and 120 bytes."""
    home = "/" + "ü" * 60
    assert socket_directory(load_settings({"RESMON_HOME": home})) != Path(home) / "run"
