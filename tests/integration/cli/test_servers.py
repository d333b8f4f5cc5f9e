"""`resmon server`: the inventory as commands change it, and tests of a connection."""

import json
from datetime import UTC, datetime
from pathlib import Path

import asyncssh
import pytest

from resmon_resources.channel_store import remember_modes
from resmon_resources.inventory import find_server
from resmon_resources.postgres import PostgresResource
from resmon_resources.sample_store import FileSystemUsage
from resmon_resources.session_choice import ModeChosen
from tests import fixtures_ssh as servers
from tests.fixtures_services import free_port
from tests.fixtures_ssh import Endpoint, Keys, ServerFactory
from tests.integration.cli.builders import (
    GIB,
    add_server,
    store_failure,
    store_file_systems,
    store_samples,
)
from tests.integration.cli.conftest import Resmon

pytestmark = pytest.mark.integration

PASSPHRASE = "correct horse"  # noqa: S105


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A file that looks like a private key."""
    path = tmp_path / "id_test"
    path.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nnot really\n")
    path.with_suffix(".pub").write_text("ssh-ed25519 AAAA me\n")
    return path


def listed(resmon: Resmon, *arguments: str) -> dict[str, dict[str, object]]:
    servers = json.loads(resmon("server", "list", "--format", "json", *arguments).output)
    return {str(server["server_name"]): server for server in servers}


def test_server_is_added_with_all_that_was_given(resmon: Resmon, key_file: Path) -> None:
    """Would let back: an option that is taken and forgotten."""
    resmon("org", "add", "acme")
    added = resmon(
        *("server", "add", "web-1", "--host", "10.0.0.1", "--port", "2222", "--user", "resmon"),
        *("--identity-file", str(key_file), "--organization", "acme", "--tag", "web"),
        *("--tag", "prod", "--interval", "60"),
    )
    assert added.exit_code == 0
    assert "resmon@10.0.0.1:2222" in added.output
    assert "resmon server test web-1" in added.output
    server = listed(resmon)["web-1"]
    assert server["server_id"]
    assert {key: server[key] for key in server if key not in ("server_id", "changed_at")} == {
        "server_name": "web-1",
        "organization_name": "acme",
        "transport": "ssh",
        "host": "10.0.0.1",
        "port": 2222,
        "user_name": "resmon",
        "identity_file": str(key_file),
        "proxy_jump": None,
        "tags": ["prod", "web"],
        "state": "active",
        "interval_seconds": 60,
        "exec_since": None,
        "exec_reason": None,
    }


def test_list_is_narrowed_by_tag_organization_and_state(resmon: Resmon) -> None:
    """Would let back: a filter that is ignored."""
    resmon("org", "add", "acme")
    resmon("org", "add", "emea", "--parent", "acme")
    resmon("server", "add", "web-1", "--host", "a", "--organization", "emea", "--tag", "web")
    resmon("server", "add", "db-1", "--host", "b", "--tag", "db")
    resmon("server", "pause", "db-1")
    assert set(listed(resmon)) == {"web-1", "db-1"}
    assert set(listed(resmon, "--organization", "acme")) == {"web-1"}
    assert set(listed(resmon, "--tag", "db")) == {"db-1"}
    assert set(listed(resmon, "--tag", "db", "--tag", "web")) == set()
    assert set(listed(resmon, "--state", "paused")) == {"db-1"}
    table = resmon("server", "list", columns=80).output
    assert "paused" in table
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "No server matches" in resmon("server", "list", "--tag", "none").told


def test_states_follow_the_commands(resmon: Resmon) -> None:
    """Would let back: a pause that does not pause, or a resumed server that stays silent."""
    for name in ("a", "b"):
        resmon("server", "add", name, "--host", name)
    assert resmon("server", "pause", "a", "b").output == "a: paused.\nb: paused.\n"
    assert resmon("server", "pause", "a").output == "a: is paused already.\n"
    assert resmon("server", "resume", "b").output == "b: collected again.\n"
    assert resmon("server", "pause", "--offline", "b").output == "b: offline.\n"
    assert {name: server["state"] for name, server in listed(resmon).items()} == {
        "a": "paused",
        "b": "offline",
    }


def test_one_wrong_name_changes_no_server(resmon: Resmon) -> None:
    """Would let back: half of a list paused."""
    resmon("server", "add", "web-1", "--host", "a")
    outcome = resmon("server", "pause", "web-1", "web-2")
    assert outcome.exit_code == 1
    assert "Did you mean web-1?" in outcome.told
    assert listed(resmon)["web-1"]["state"] == "active"


def test_removal_asks_and_a_no_keeps_the_server(resmon: Resmon) -> None:
    """Would let back: a server removed by a slip."""
    resmon("server", "add", "web-1", "--host", "a")
    assert resmon("server", "remove", "web-1", answer="n\n").exit_code == 1
    assert resmon("server", "remove", "web-1", answer="").exit_code == 1
    assert "web-1" in listed(resmon)
    assert resmon("server", "remove", "web-1", answer="y\n").output.endswith("web-1: removed.\n")
    assert listed(resmon) == {}
    assert set(listed(resmon, "--state", "deleted")) == {"web-1"}
    assert resmon("server", "add", "web-1", "--host", "b").exit_code == 0
    assert resmon("server", "remove", "--yes", "web-1").output == "web-1: removed.\n"


def test_edit_changes_only_what_is_given(resmon: Resmon) -> None:
    """Would let back: an edit that resets the rest."""
    resmon("org", "add", "acme")
    resmon("server", "add", "web-1", "--host", "a", "--tag", "web", "--user", "me")
    edited = resmon("server", "edit", "web-1", "--port", "2200", "--organization", "acme")
    assert edited.output == "web-1: me@a:2200, organization acme.\n"
    assert listed(resmon)["web-1"]["tags"] == ["web"]


def test_jump_hosts_are_stored_shown_and_taken_away(resmon: Resmon) -> None:
    """Would let back: a server behind a bastion that no edit can bring back in front of it."""
    resmon("server", "add", "db-1", "--host", "10.0.0.7", "--proxy-jump", "ssh://me@b1:22,b2:2222")
    assert listed(resmon)["db-1"]["proxy_jump"] == "me@b1,b2:2222"
    resmon("server", "edit", "db-1", "--port", "2200")
    assert "me@b1,b2:2222" in resmon("server", "show", "db-1").output
    for text, told in [("b1,", "is not [user@]host"), ("b1:0", "1 to 65535"), ("-x", "a host")]:
        assert told in resmon("server", "edit", "db-1", "--proxy-jump", text).told
    assert listed(resmon)["db-1"]["proxy_jump"] == "me@b1,b2:2222"
    resmon("server", "edit", "db-1", "--proxy-jump", "none")
    assert listed(resmon)["db-1"]["proxy_jump"] is None
    resmon("server", "add", "db-2", "--host", "10.0.0.8", "--proxy-jump", "none")
    assert listed(resmon)["db-2"]["proxy_jump"] is None


def test_what_was_set_can_be_taken_away(resmon: Resmon, tmp_path: Path) -> None:
    """Would let back: a user or key of which the only way out is to remove the server."""
    key = tmp_path / "key"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    resmon(
        *("server", "add", "db-1", "--host", "10.0.0.7", "--user", "me"),
        *("--identity-file", str(key), "--tag", "db", "--tag", "eu"),
    )

    def settings() -> list[object]:
        server = listed(resmon)["db-1"]
        return [server[name] for name in ("user_name", "identity_file", "tags")]

    resmon("server", "edit", "db-1", "--port", "2200")
    assert settings() == ["me", str(key), ["db", "eu"]]
    assert resmon("server", "edit", "db-1", "--user", "none").exit_code == 0
    assert settings() == [None, str(key), ["db", "eu"]]
    assert resmon("server", "edit", "db-1", "--identity-file", "none").exit_code == 0
    assert settings() == [None, None, ["db", "eu"]]
    assert resmon("server", "edit", "db-1", "--tag", "none").exit_code == 0
    assert settings() == [None, None, []]
    resmon(
        *("server", "add", "db-2", "--host", "10.0.0.8", "--user", "none"),
        *("--identity-file", "none"),
    )
    server = listed(resmon)["db-2"]
    assert (server["user_name"], server["identity_file"]) == (None, None)


def test_show_tells_settings_and_latest_values(resmon: Resmon, postgres: PostgresResource) -> None:
    """Would let back: a page without the figure somebody is looking for."""
    web = add_server(postgres, "web-1", tags=["web"])
    store_samples(postgres, web, count=2)
    shown = resmon("server", "show", "web-1").output
    for text in ("web-1", "42 % of 8 cores", "8.0 GiB of 32.0 GiB, 25 %", "97.7 KiB/s", "active"):
        assert text in shown
    as_json = json.loads(resmon("server", "show", "web-1", "--format", "json").output)
    assert as_json["cpu_pct"] == 42.0
    assert as_json["host"] == "web-1.invalid"
    assert as_json["tags"] == ["web"]


def test_show_tells_the_mounts(resmon: Resmon, postgres: PostgresResource) -> None:
    """Would let back: a full /var behind a disk total that looks fine."""
    web = add_server(postgres, "web-1")
    (at,) = store_samples(postgres, web, count=1)
    known = {"server_id": web.server_id, "organization_id": web.organization_id}
    full = FileSystemUsage(
        **known,
        collected_at=at,
        mount="/var/[log]",
        device="/dev/sdb1",
        type="xfs",
        total_bytes=10 * GIB,
        used_bytes=9 * GIB,
        available_bytes=1 * GIB,
        inodes_total=1000,
        inodes_used=420,
    )
    hung = FileSystemUsage(**known, collected_at=at, mount="/mnt", device="/dev/sdc", type="ext4")
    store_file_systems(postgres, web, [full, hung])
    lines = resmon("server", "show", "web-1").output.splitlines()
    (line,) = (line for line in lines if "/var/[log]" in line)
    assert line.split() == [
        *("/var/[log]", "10.0", "GiB", "9.0", "GiB", "1.0", "GiB"),
        *("90", "%", "42", "%", "xfs", "/dev/sdb1"),
    ]
    (line,) = (line for line in lines if "/mnt" in line)
    assert "0" not in line
    as_json = json.loads(resmon("server", "show", "web-1", "--format", "json").output)
    assert [fs["mount"] for fs in as_json["file_systems"]] == ["/mnt", "/var/[log]"]
    assert as_json["file_systems"][0]["used_bytes"] is None
    assert as_json["file_systems"][1]["inodes_used_pct"] == 42.0


def test_show_tells_why_a_server_fails(resmon: Resmon, postgres: PostgresResource) -> None:
    """Would let back: a status without its cause."""
    db = add_server(postgres, "db-1")
    assert "waiting for the first attempt" in resmon("server", "show", "db-1").output
    store_failure(postgres, db, "timeout", "It took longer than 10 s.")
    shown = resmon("server", "show", "db-1").output
    assert "timeout: It took longer than 10 s." in shown
    assert "none yet" in shown


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        (["add", "web-1", "--host", "a"], 1, "there is one of this name already"),
        (["add", "we b", "--host", "a"], 1, "cannot be the name of a server"),
        (["add", "x"], 2, "--host NAME-OR-ADDRESS"),
        (["add", "x", "--host", "me@a"], 1, "user 'me'"),
        (["add", "x", "--host", "a:22"], 1, "port 22"),
        (["add", "x", "--host", "a", "--port", "0"], 1, "1 to 65535"),
        (["add", "x", "--host", "a", "--port", "ssh"], 2, "not a valid integer"),
        (["add", "x", "--host", "a", "--transport", "telnet"], 2, "'ssh', 'local'"),
        (["add", "x", "--host", "far", "--transport", "local"], 1, "cannot reach 'far'"),
        (["add", "x", "--host", "a", "--organization", "defualt"], 1, "Did you mean default?"),
        (["add", "x", "--host", "a", "--tag", "a b"], 1, "cannot be a tag"),
        (["add", "x", "--host", "a", "--interval", "1"], 1, "5 to 3600"),
        (["add", "x", "--host", "a", "--identity-file", "/nonexistent"], 1, "cannot be read"),
        (["edit", "nix", "--port", "1"], 1, "no server 'nix'"),
        (["show", "wbe-1"], 1, "Did you mean web-1?"),
        (["show", "web-1; drop table"], 1, "There is no server"),
        (["remove", "nix", "--yes"], 1, "no server 'nix'"),
        (["pause"], 2, "Missing argument"),
        (["test", "nix"], 1, "no server 'nix'"),
    ],
)
def test_wrong_requests_are_one_clear_message(
    resmon: Resmon, arguments: list[str], exit_code: int, told: str
) -> None:
    """Would let back: a traceback, or a row written in spite of the error."""
    resmon("server", "add", "web-1", "--host", "a")
    outcome = resmon("server", *arguments)
    assert outcome.exit_code == exit_code
    assert told in outcome.told
    assert set(listed(resmon)) == {"web-1"}


def test_a_public_key_is_told_from_a_private_one(resmon: Resmon, key_file: Path) -> None:
    """Would let back: the commonest mistake, found only at the first login."""
    public = resmon(
        "server", "add", "x", "--host", "a", "--identity-file", f"{key_file.with_suffix('.pub')}"
    )
    assert f"is a public key. Give the private one: {key_file}" in public.told
    other = key_file.with_name("other")
    other.write_bytes(b"\x00\x01")
    neither = resmon("server", "add", "x", "--host", "a", "--identity-file", str(other))
    assert "not a private key" in neither.told
    assert listed(resmon) == {}


def test_local_server_is_tested_with_each_step(resmon: Resmon) -> None:
    """Would let back: a test that says ok without a reading."""
    resmon("server", "add", "here", "--transport", "local")
    resmon("server", "pause", "here")
    outcome = resmon("server", "test", "here")
    assert outcome.exit_code == 0, outcome.output
    for text in ("probe started", "first answer", "second answer", "Memory", "Uptime"):
        assert text in outcome.output
    assert "here is paused" in outcome.told


def test_ssh_server_is_tested_with_each_step(
    resmon: Resmon, ssh_server: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: a step of the connection that the test does not show."""
    monkeypatch.setenv("RESMON_KNOWN_HOSTS", str(ssh_server.known_hosts_file))
    add_endpoint(resmon, ssh_server)
    outcome = resmon("server", "test", "far")
    assert outcome.exit_code == 0, outcome.output
    for text in ("TCP connected", "host key is known", "logged in", "second answer", "Memory"):
        assert text in outcome.output


def test_unknown_host_key_names_the_command_that_adds_it(
    resmon: Resmon,
    ssh_server: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Would let back: a newcomer's first server that fails without a way on."""
    monkeypatch.setenv("RESMON_KNOWN_HOSTS", str(tmp_path / "none"))
    add_endpoint(resmon, ssh_server)
    outcome = resmon("server", "test", "far")
    assert outcome.exit_code == 1
    assert "TCP connected" in outcome.output
    assert "FAILED while checking the host key" in outcome.output
    assert f"ssh-keyscan -p {ssh_server.port}" in outcome.output.replace("\n", " ")


def test_refused_connection_says_what_to_look_at(resmon: Resmon) -> None:
    """Would let back: an exception of the SSH library."""
    resmon("server", "add", "far", "--host", "127.0.0.1", "--port", str(free_port()))
    outcome = resmon("server", "test", "far")
    assert outcome.exit_code == 1
    assert "refused" in outcome.output
    assert "FAILED while connecting by TCP" in outcome.output


def add_endpoint(resmon: Resmon, endpoint: Endpoint) -> None:
    added = resmon(
        *("server", "add", "far", "--host", endpoint.host, "--port", str(endpoint.port)),
        *("--user", endpoint.user_name, "--identity-file", str(endpoint.identity_file)),
    )
    assert added.exit_code == 0, added.told


def test_authorize_line_prints_one_line_that_a_host_accepts(
    resmon: Resmon, sshd: Endpoint, ssh_keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: a line that has to be edited, or one for another key."""
    monkeypatch.setenv("RESMON_KNOWN_HOSTS", str(sshd.known_hosts_file))
    key = ssh_keys.private("forced")
    resmon(
        *("server", "add", "web-1", "--host", sshd.host, "--port", str(sshd.port)),
        *("--user", sshd.user_name, "--identity-file", str(key)),
    )
    assert resmon("server", "test", "web-1").exit_code == 1, "the key is not let in yet"
    printed = resmon("server", "authorize-line", "web-1", "--from", "127.0.0.0/8,10.0.0.0/8")
    assert printed.exit_code == 0
    assert printed.output.count("\n") == 1
    assert printed.output.startswith('restrict,from="127.0.0.0/8,10.0.0.0/8",command="')
    assert ssh_keys.public_line("forced") in printed.output
    assert "resmon server test web-1" in printed.told
    before = sshd.authorized_keys_file.read_text()
    try:
        sshd.authorized_keys_file.write_text(before + printed.output)
        tested = resmon("server", "test", "web-1")
        assert tested.exit_code == 0, tested.output
    finally:
        sshd.authorized_keys_file.write_text(before)


def test_authorize_line_uses_the_public_file_of_an_encrypted_key(
    resmon: Resmon, ssh_keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: no line for those who keep their key in an agent."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = ssh_keys.private("locked")
    encrypted = key.with_name("encrypted")
    asyncssh.read_private_key(key).write_private_key(encrypted, passphrase=PASSPHRASE)
    resmon("server", "add", "web-1", "--host", "10.0.0.1", "--identity-file", str(encrypted))
    refused = resmon("server", "authorize-line", "web-1")
    assert (refused.exit_code, refused.output) == (1, "")
    assert "encrypted" in refused.told
    assert "ssh-keygen" in refused.told
    encrypted.with_name("encrypted.pub").write_text(key.with_name("locked.pub").read_text())
    printed = resmon("server", "authorize-line", "web-1")
    assert ssh_keys.public_line("locked") in printed.output


def test_authorize_line_refuses_what_needs_none(resmon: Resmon) -> None:
    """Would let back: a line for this machine, which is read without SSH."""
    resmon("server", "add", "here", "--transport", "local")
    refused = resmon("server", "authorize-line", "here")
    assert (refused.exit_code, refused.output) == (1, "")
    assert "without SSH" in refused.told


def test_test_and_show_say_how_a_server_is_read(
    resmon: Resmon,
    scripted_server: ServerFactory,
    postgres: PostgresResource,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Would let back: a host read the dear way, and nobody who can see it or why."""
    server, endpoint = scripted_server(servers.per_tick)
    monkeypatch.setenv("RESMON_KNOWN_HOSTS", str(endpoint.known_hosts_file))
    add_endpoint(resmon, endpoint)
    assert "one session that is kept open" in resmon("server", "show", "far").output
    tested = resmon("server", "test", "far")
    assert tested.exit_code == 0, tested.output
    assert "read by a session per tick" in tested.output
    assert "ended with exit status 0 without an answer" in " ".join(tested.output.split())
    with postgres.connect() as connection:
        far = find_server(connection, "far")
        assert far.exec_since is None, "a test stores nothing"
        chosen = ModeChosen(far.server_id, "exec", "it ended", datetime(2026, 3, 1, tzinfo=UTC))
        remember_modes(connection, [chosen])
    shown = " ".join(resmon("server", "show", "far").output.split())
    assert "a session per tick, as of 2026-03-01 00:00:00 UTC: it ended" in shown
    assert listed(resmon)["far"]["exec_reason"] == "it ended"
    assert "again" not in resmon("server", "test", "far").told
    server.session = servers.canned
    repaired = resmon("server", "test", "far")
    assert "far keeps a session open again" in repaired.told
    assert "session per tick" not in repaired.output
    assert listed(resmon)["far"]["exec_since"] is None
