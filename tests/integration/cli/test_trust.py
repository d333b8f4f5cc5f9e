"""`resmon server trust`: consent of a person, and what every command says of pins."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from resmon_cli import trust
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.postgres import PostgresResource
from tests.fixtures_services import free_port
from tests.fixtures_ssh import Endpoint, Keys, ServerFactory
from tests.integration.cli.conftest import Outcome, Resmon

pytestmark = pytest.mark.integration

TRUST = ("server", "trust", "far")


@pytest.fixture
def known_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The known_hosts file of the commands; missing at first."""
    path = tmp_path / "own_known_hosts"
    monkeypatch.setenv("RESMON_KNOWN_HOSTS", str(path))
    return path


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sits at the terminal."""
    monkeypatch.setattr(trust, "has_terminal", lambda: True)


def add(resmon: Resmon, endpoint: Endpoint, name: str = "far") -> None:
    """Put a listening server into the inventory."""
    added = resmon(
        *("server", "add", name, "--host", endpoint.host, "--port", str(endpoint.port)),
        *("--user", endpoint.user_name, "--identity-file", str(endpoint.identity_file)),
    )
    assert added.exit_code == 0, added.told


def fingerprint_of(ssh_keys: Keys, tmp_path: Path, name: str = "host") -> str:
    """Fingerprint of a key, by way of known_hosts."""
    path = tmp_path / f"{name}.line"
    path.write_text(f"h {ssh_keys.public_line(name)}\n")
    (key,) = KnownHosts(path).trusted_keys("h", 22)
    return trust.HostKey(key.key_type, key.blob).fingerprint


def pin_of(resmon: Resmon, name: str = "far") -> dict[str, str] | None:
    """The pin as `show` has it."""
    shown = json.loads(resmon("server", "show", name, "--format", "json").output)
    pin: dict[str, str] | None = shown["host_key"]
    return pin


def trusted(outcome: Outcome) -> bool:
    """Whether a key was pinned."""
    return outcome.exit_code == 0 and "is pinned." in outcome.output


@pytest.mark.usefixtures("person", "known_hosts")
def test_a_person_sees_the_key_and_agrees(
    resmon: Resmon, ssh_server: Endpoint, ssh_keys: Keys, tmp_path: Path
) -> None:
    """Would let back: a question without what it is about, or a no that counts as a yes."""
    add(resmon, ssh_server)
    key = fingerprint_of(ssh_keys, tmp_path)
    for answer in ("n\n", "\n", ""):
        refused = resmon("server", "trust", "far", answer=answer)
        assert refused.exit_code == 1
        assert key in refused.output
        assert pin_of(resmon) is None
    assert trusted(resmon("server", "trust", "far", answer="y\n"))
    pin = pin_of(resmon)
    assert pin is not None
    assert (pin["fingerprint"], pin["pinned_by"]) == (key, "resmon server trust")
    assert f"ssh-ed25519 {key}, pinned 2" in resmon("server", "show", "far").output
    tested = resmon("server", "test", "far")
    assert tested.exit_code == 0, tested.output
    assert f"ssh-ed25519 {key}, pinned" in tested.output


@pytest.mark.usefixtures("known_hosts")
def test_nobody_at_the_terminal_trusts_nothing(
    resmon: Resmon, ssh_server: Endpoint, ssh_keys: Keys, tmp_path: Path
) -> None:
    """Would let back: `yes | resmon server trust`, which compares nothing."""
    add(resmon, ssh_server)
    key = fingerprint_of(ssh_keys, tmp_path)
    piped = resmon("server", "trust", "far", answer="y\n")
    assert piped.exit_code == 1
    assert key in piped.output
    assert "--fingerprint" in piped.told
    assert pin_of(resmon) is None
    assert trusted(resmon("server", "trust", "far", "--yes"))


@pytest.mark.parametrize(("answer", "is_trusted"), [(b"y\n", True), (b"n\n", False)])
def test_a_real_terminal_is_asked(
    resmon: Resmon,
    postgres: PostgresResource,
    ssh_server: Endpoint,
    known_hosts: Path,
    answer: bytes,
    *,
    is_trusted: bool,
) -> None:
    """Would let back: a question that no person ever sees."""
    add(resmon, ssh_server)
    settings = {"RESMON_POSTGRES_DSN": postgres.dsn, "RESMON_KNOWN_HOSTS": str(known_hosts)}
    keyboard, terminal = os.openpty()
    try:
        os.write(keyboard, answer)
        done = subprocess.run(
            [sys.executable, "-c", "from resmon_cli.main import main; main()", *TRUST],
            stdin=terminal,
            capture_output=True,
            text=True,
            env=os.environ | settings,
            timeout=60,
            check=False,
        )
    finally:
        os.close(keyboard)
        os.close(terminal)
    assert (done.returncode == 0) is is_trusted, done.stderr
    assert "Traceback" not in done.stderr
    assert (pin_of(resmon) is not None) is is_trusted


@pytest.mark.usefixtures("known_hosts")
def test_a_fingerprint_trusts_exactly_that_key(
    resmon: Resmon, ssh_server: Endpoint, ssh_keys: Keys, tmp_path: Path
) -> None:
    """Would let back: a script that trusts whoever answers."""
    add(resmon, ssh_server)
    key, other = (fingerprint_of(ssh_keys, tmp_path, name) for name in ("host", "stranger"))
    for wrong in (other, key[:-1], key.lower(), ""):
        refused = resmon("server", "trust", "far", "--fingerprint", wrong, "--yes")
        assert refused.exit_code == 1
        assert key in refused.told
        assert pin_of(resmon) is None
    assert trusted(resmon("server", "trust", "far", "--fingerprint", key))
    refused = resmon("server", "trust", "far", "--fingerprint", other)
    assert refused.exit_code == 1, "also when the key that is shown is pinned already"


@pytest.mark.usefixtures("person")
def test_a_changed_key_is_shown_beside_what_was_believed(
    resmon: Resmon,
    scripted_server: ServerFactory,
    ssh_keys: Keys,
    tmp_path: Path,
    known_hosts: Path,
) -> None:
    """Would let back: a change that nobody can see, or a remedy that does not help."""
    _, endpoint = scripted_server(host_key=ssh_keys.private("other-host"))
    known_hosts.write_text(f"[127.0.0.1]:{endpoint.port} {ssh_keys.public_line('host')}\n")
    add(resmon, endpoint)
    old, new = (fingerprint_of(ssh_keys, tmp_path, name) for name in ("host", "other-host"))
    tested = resmon("server", "test", "far")
    assert tested.exit_code == 1
    words = " ".join(tested.output.split())
    assert "host_key_changed" in words
    assert "`resmon server trust far`" in words
    shown = resmon("server", "trust", "far", answer="y\n")
    assert trusted(shown)
    lines = shown.output.splitlines()
    (believed,) = (line for line in lines if line.startswith("believed"))
    assert old in believed
    assert "line 1" in believed
    (now,) = (line for line in lines if line.startswith("shown now"))
    assert new in now
    assert resmon("server", "test", "far").exit_code == 0

    again = resmon("server", "trust", "far")
    assert again.exit_code == 0
    assert "this key is pinned already; nothing was changed" in again.output
    forgotten = resmon("server", "trust", "far", "--forget")
    assert "known_hosts decides again" in forgotten.output
    assert pin_of(resmon) is None
    assert "nothing was changed" in resmon("server", "trust", "far", "--forget").output
    assert resmon("server", "test", "far").exit_code == 1


@pytest.mark.usefixtures("person")
def test_a_key_that_known_hosts_has_needs_no_pin(
    resmon: Resmon, ssh_server: Endpoint, known_hosts: Path
) -> None:
    """Would let back: pins that from then on decide in the place of a managed file."""
    known_hosts.write_text(ssh_server.known_hosts_file.read_text())
    add(resmon, ssh_server)
    outcome = resmon("server", "trust", "far")
    assert outcome.exit_code == 0
    words = " ".join(outcome.output.split())
    assert f"{known_hosts} has this key already (line 1); nothing was changed" in words
    assert pin_of(resmon) is None


@pytest.mark.usefixtures("person")
def test_a_revoked_key_cannot_be_trusted(
    resmon: Resmon, ssh_server: Endpoint, ssh_keys: Keys, known_hosts: Path
) -> None:
    """Would let back: a pin on a key that was withdrawn, which would be refused for ever."""
    known_hosts.write_text(f"@revoked * {ssh_keys.public_line('host')}\n")
    add(resmon, ssh_server)
    outcome = resmon("server", "trust", "far", "--yes")
    assert outcome.exit_code == 1
    assert "revoked" in outcome.told
    assert pin_of(resmon) is None


@pytest.mark.usefixtures("known_hosts")
def test_what_cannot_be_trusted_is_one_clear_message(resmon: Resmon) -> None:
    """Would let back: a traceback, or a local machine with a host key."""
    resmon("server", "add", "off", "--host", "127.0.0.1", "--port", str(free_port()))
    resmon("server", "add", "here", "--transport", "local")
    cases = [
        (["off", "--yes"], 1, "refused. sshd does not run there"),
        (["here", "--yes"], 1, "has no host key"),
        (["offf"], 1, "Did you mean off?"),
        (["off", "--forget", "--yes"], 2, "leave out --fingerprint and --yes"),
        ([], 2, "Missing argument"),
    ]
    for arguments, exit_code, told in cases:
        outcome = resmon("server", "trust", *arguments)
        assert outcome.exit_code == exit_code
        assert told in outcome.told


@pytest.mark.usefixtures("known_hosts")
def test_a_first_use_is_pinned_by_the_test_and_holds(
    resmon: Resmon,
    ssh_server: Endpoint,
    scripted_server: ServerFactory,
    ssh_keys: Keys,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Would let back: a test that says ok to a key that nobody is held to afterwards."""
    add(resmon, ssh_server)
    assert resmon("server", "test", "far").exit_code == 1
    monkeypatch.setenv("RESMON_HOST_KEYS", "first-use")
    tested = resmon("server", "test", "far")
    key = fingerprint_of(ssh_keys, tmp_path)
    assert tested.exit_code == 0, tested.output
    assert "pinned now, at first use" in " ".join(tested.output.split())
    assert f"Pinned the first host key: ssh-ed25519 {key}" in tested.told
    pin = pin_of(resmon)
    assert pin is not None
    assert (pin["fingerprint"], pin["pinned_by"]) == (key, "first use")

    _, moved = scripted_server(host_key=ssh_keys.private("other-host"))
    edited = resmon("server", "edit", "far", "--port", str(moved.port))
    assert "The pinned host key was dropped" in edited.told
    assert pin_of(resmon) is None
    monkeypatch.setenv("RESMON_HOST_KEYS", "known_hosts")
    assert "host_key_unknown" in resmon("server", "test", "far").output


@pytest.mark.usefixtures("known_hosts")
@pytest.mark.parametrize("mode", ["known_hosts", "first-use"])
def test_collecting_now_follows_the_same_rule(
    resmon: Resmon, ssh_server: Endpoint, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Would let back: a command that reads what the collector refuses, or pins nothing."""
    monkeypatch.setenv("RESMON_HOST_KEYS", mode)
    add(resmon, ssh_server)
    outcome = resmon("collect", "--sync", "far")
    is_first_use = mode == "first-use"
    assert (outcome.exit_code == 0) is is_first_use
    assert (pin_of(resmon) is not None) is is_first_use
