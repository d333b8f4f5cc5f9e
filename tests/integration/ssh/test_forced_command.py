"""The line of `resmon server authorize-line`, read by a real sshd."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resmon_resources.authorized_keys import authorized_keys_line
from resmon_resources.channels import Target
from resmon_resources.errors import CollectionError
from resmon_resources.fleet import open_once
from resmon_resources.probe.reading import parse_answer
from resmon_resources.ssh import public_key_of
from tests.fixtures_ssh import Endpoint, Keys

pytestmark = pytest.mark.integration


@pytest.fixture
def authorize(sshd: Endpoint) -> Iterator[Callable[[str], None]]:
    """Adds lines to authorized_keys of the real sshd for the time of a test."""
    before = sshd.authorized_keys_file.read_text()

    def add(line: str) -> None:
        with sshd.authorized_keys_file.open("a") as file:
            file.write(f"{line}\n")

    yield add
    sshd.authorized_keys_file.write_text(before)


@pytest.fixture
def forced(sshd: Endpoint, ssh_keys: Keys, authorize: Callable[[str], None]) -> Target:
    """A server whose account lets Resmon's key run the probe and nothing else."""
    target = sshd.target(identity_file=str(ssh_keys.private("forced")))
    public_key, _ = public_key_of(target)
    authorize(authorized_keys_line(public_key, comment="resmon", sources=["127.0.0.0/8"]))
    return target


def test_a_host_with_the_forced_command_collects(sshd: Endpoint, forced: Target) -> None:
    """Would let back: least privilege that costs the samples, or a line that sshd misreads."""
    channel = open_once(forced, known_hosts=sshd.known_hosts)
    try:
        assert parse_answer(channel.first_answer).memory_total_bytes
        reading = parse_answer(channel.ask(58_000_000, 20, with_inodes=True))
        assert reading.cpu is not None
        assert channel.noise == ""
    finally:
        channel.close()


def test_the_key_opens_nothing_else(sshd: Endpoint, forced: Target, tmp_path: Path) -> None:
    """Would let back: a shell, a forwarding or a file for whoever has stolen the key."""

    def ssh(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [
                *("ssh", "-F", "none", "-p", str(sshd.port), "-i", str(forced.identity_file)),
                *("-o", f"UserKnownHostsFile={sshd.known_hosts_file}"),
                *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"),
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    where = f"{sshd.user_name}@{sshd.host}"
    mark = tmp_path / "mark"
    for asked in (f"touch {mark}", f"x resmon abcdefgh; touch {mark}", f"x resmon $(touch {mark})"):
        done = ssh(where, asked)
        assert (done.returncode, done.stdout) == (64, "")
        assert "nothing else" in done.stderr
    assert not mark.exists()
    assert ssh("-W", f"127.0.0.1:{sshd.port}", where).returncode != 0
    assert "PTY allocation request failed" in ssh("-tt", where).stderr


def test_another_forced_command_is_an_error_that_says_so(
    sshd: Endpoint, ssh_keys: Keys, authorize: Callable[[str], None]
) -> None:
    """Would let back: an account that can only copy files, reported as a broken network."""
    target = sshd.target(identity_file=str(ssh_keys.private("forced")))
    authorize(f'restrict,command="echo only backups here" {ssh_keys.public_line("forced")}')
    with pytest.raises(CollectionError, match=r"only backups here") as caught:
        open_once(target, known_hosts=sshd.known_hosts).close()
    assert caught.value.cause == "unreadable"
