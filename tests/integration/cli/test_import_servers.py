"""`resmon server import`: what is shown, what is written, and that a mistake writes nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.conftest import Resmon

pytestmark = pytest.mark.integration

CSV = "name,host,port,organization,tags,proxy_jump\nweb-1,10.0.0.1,2222,acme,web,me@b\nweb-2,,,,,\n"


def listed(resmon: Resmon) -> dict[str, dict[str, Any]]:
    """The servers as JSON, by name."""
    outcome = resmon("server", "list", "--format", "json")
    return {server["server_name"]: server for server in json.loads(outcome.output or "[]")}


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    """Two servers, one of an organization."""
    path = tmp_path / "fleet.csv"
    path.write_text(CSV)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory with an empty ~/.ssh."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def test_a_dry_run_shows_and_the_second_import_changes_nothing(
    resmon: Resmon, csv_file: Path
) -> None:
    """Would let back: a dry run that writes, or rows that change at every import."""
    dry = resmon("server", "import", str(csv_file), "--create-organizations", "--dry-run")
    assert dry.exit_code == 0, dry.told
    assert "Organization acme: would be added." in dry.output
    assert "2 added, 0 changed, 0 unchanged, 0 skipped. Nothing was written" in dry.output
    assert listed(resmon) == {}
    assert "acme" not in resmon("org", "list").output
    first = resmon("server", "import", str(csv_file), "--create-organizations", "--tag", "x")
    assert "2 added, 0 changed" in first.output
    servers = listed(resmon)
    assert servers["web-1"]["proxy_jump"] == "me@b"
    assert servers["web-1"]["organization_name"] == "acme"
    assert servers["web-1"]["tags"] == ["web", "x"]
    assert servers["web-2"]["organization_name"] == "default"
    again = resmon("server", "import", "--csv", str(csv_file), "--tag", "x")
    assert "0 added, 0 changed, 2 unchanged, 0 skipped." in again.output
    assert listed(resmon) == servers, "changed_at too"


def test_what_changed_is_changed_and_nothing_else(resmon: Resmon, csv_file: Path) -> None:
    """Would let back: an import that undoes what was set by hand."""
    resmon("server", "import", str(csv_file), "--create-organizations")
    resmon("server", "edit", "web-2", "--user", "me", "--tag", "mine")
    resmon("server", "pause", "web-2")
    csv_file.write_text("name,port,proxy_jump,tags\nweb-1,,none,\nweb-2,2200,,new\n")
    outcome = resmon("server", "import", str(csv_file), "--organization", "acme")
    assert outcome.exit_code == 0, outcome.told
    assert "host 10.0.0.1 -> web-1, proxy jump me@b -> none" in outcome.output
    servers = listed(resmon)
    assert (servers["web-1"]["port"], servers["web-1"]["proxy_jump"]) == (2222, None)
    web = servers["web-2"]
    assert (web["port"], web["user_name"], web["state"]) == (2200, "me", "paused")
    assert (web["tags"], web["organization_name"]) == (["mine", "new"], "acme")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name,organization\ngood,\nweb-9,nix\n", ":3: there is no organization 'nix'"),
        ("name,host\ngood,a\nweb-9,a b\n", ":3: 'a b' cannot be a host"),
        ("name,tags\ngood,a\nweb 9,a\n", ":3: 'web 9' cannot be the name"),
        ("name,identity_file\ngood,\nweb-9,/nonexistent/key\n", ":3: the identity file"),
        ("name\ngood\ngood\n", ":3: the server good is stated already in"),
        ("name,proxy_jump\ngood,a\nweb-9,a:0\n", ":3: 0 cannot be a port"),
        ("name,user\ngood,a\nweb-9,-x\n", ":3: '-x' cannot be a user"),
    ],
)
def test_a_mistake_anywhere_imports_nothing(
    resmon: Resmon, csv_file: Path, text: str, told: str
) -> None:
    """Would let back: half of a file in the inventory."""
    csv_file.write_text(text)
    for option in ([], ["--dry-run"]):
        outcome = resmon("server", "import", str(csv_file), *option)
        assert outcome.exit_code == 1
        assert f"{csv_file}{told}" in outcome.told
        assert listed(resmon) == {}


def test_an_organization_with_a_wrong_name_is_refused_with_its_row(
    resmon: Resmon, csv_file: Path
) -> None:
    """Would let back: an organization left behind by an import that failed."""
    csv_file.write_text("name,organization\na,new\nb,/\n")
    outcome = resmon("server", "import", str(csv_file), "--create-organizations")
    assert f"{csv_file}:3: '/' cannot be the name of an organization" in outcome.told
    assert "new" not in resmon("org", "list").output


def test_ssh_config_with_includes(resmon: Resmon, home: Path) -> None:
    """Would let back: servers lost that are kept in files which ~/.ssh/config includes."""
    folder = home / ".ssh"
    (folder / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (folder / "config").write_text(
        "Include conf.d/*.conf ~/.ssh/none*\nHost b\nHostName b.example.org\nHost git\nUser git\n"
        "Match user x\nUser y\n"
    )
    (folder / "conf.d").mkdir()
    (folder / "conf.d" / "2.conf").write_text("Host web-2\nProxyJump b\n")
    (folder / "conf.d" / "1.conf").write_text("Host web-1\nIdentityFile ~/.ssh/key\nPort 23\n")
    outcome = resmon("server", "import", "--ssh-config")
    assert outcome.exit_code == 0, outcome.told
    assert "3 added, 0 changed, 0 unchanged, 1 skipped." in outcome.output
    assert "Match is not evaluated" in outcome.told
    servers = listed(resmon)
    assert servers["web-1"]["identity_file"] == str(folder / "key")
    assert servers["web-2"]["proxy_jump"] == "b.example.org"
    again = resmon("server", "import", str(folder / "config"))
    assert "0 added, 0 changed, 3 unchanged, 1 skipped." in again.output
    (folder / "conf.d" / "3.conf").write_bytes(b"Host \xff\n")
    assert (
        "3.conf cannot be read: it is no UTF-8" in resmon("server", "import", "--ssh-config").told
    )


def test_ansible_is_asked_where_it_is(
    resmon: Resmon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: an inventory that is read although `ansible-inventory` refused it."""
    printed = tmp_path / "printed.json"
    printed.write_text(
        json.dumps(
            {
                "_meta": {"hostvars": {"web-1": {"ansible_host": "10.0.0.1"}, "pc": {}}},
                "web": {"hosts": ["web-1"]},
            }
        )
    )
    inventory = tmp_path / "hosts"
    inventory.write_text("[web]\nweb-1 ansible_host=10.0.0.1\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    missing = resmon("server", "import", str(inventory))
    assert f"ansible-inventory -i {inventory} --list" in missing.told
    program = programs / "ansible-inventory"
    program.write_text("#!/bin/sh\necho 'no such group' >&2\nexit 4\n")
    program.chmod(0o755)
    assert "failed: no such group" in resmon("server", "import", str(inventory)).told
    program.write_text(f'#!/bin/sh\n[ "$*" = "-i {inventory} --list" ] && /bin/cat {printed}\n')
    asked = resmon("server", "import", "--ansible", str(inventory))
    assert "2 added" in asked.output, asked.told
    assert listed(resmon)["web-1"]["tags"] == ["web"]
    given = resmon("server", "import", str(printed))
    assert "0 added, 0 changed, 2 unchanged" in given.output
    program.write_text("not a program")
    assert "did not work" in resmon("server", "import", "--ansible", str(inventory)).told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Give one of"),
        (["a.csv", "--csv", "b.csv"], "Give one of"),
        (["servers.txt"], "Say what servers.txt is"),
    ],
)
def test_it_is_not_guessed_what_a_file_is(resmon: Resmon, arguments: list[str], told: str) -> None:
    """Would let back: a file read as something that it is not."""
    outcome = resmon("server", "import", *arguments)
    assert outcome.exit_code == 2
    assert told in outcome.told


@pytest.mark.parametrize("name", ["a.csv", "a.yml", "a.json", "config"])
def test_a_missing_file_is_said(resmon: Resmon, tmp_path: Path, name: str) -> None:
    """Would let back: a traceback of the operating system."""
    outcome = resmon("server", "import", str(tmp_path / name))
    assert outcome.exit_code == 1
    assert f"{name} cannot be read" in outcome.told
