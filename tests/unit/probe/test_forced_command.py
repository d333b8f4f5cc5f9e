"""The forced command: the probe for whoever logs in with the key, whatever is asked for."""

import os
import subprocess
from pathlib import Path

import pytest

from resmon_resources.authorized_keys import LONGEST_LINE_BYTES, authorized_keys_line
from resmon_resources.errors import ConfigurationInvalid, ProbeUnreadable
from resmon_resources.probe.framing import Answer, AnswerAssembler
from resmon_resources.probe.program import (
    forced_command,
    probe_argv,
    probe_command,
    single_shot_command,
)
from resmon_resources.probe.reading import parse_answer
from tests.unit.probe.live_probe import DEADLINE_SECONDS, NONCE, SHELLS, live_probe, shell_of

pytestmark = pytest.mark.skipif(
    not Path("/proc/stat").is_file(), reason="the probe measures Linux only; there is no /proc here"
)

each_shell = pytest.mark.parametrize("name", SHELLS)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPrqm4Yb3dqDdDd2Yb0n0mS5u9Xkqv2ZC2m8mJ0y3wYt"


def argv_of(command: str, name: str, login_shell: str = "dash") -> list[str]:
    """What sshd starts, with another shell in the place of the host's /bin/sh."""
    inner = " ".join(shell_of(name))
    return [*shell_of(login_shell), "-c", command.replace("exec /bin/sh ", f"exec {inner} ", 1)]


def run_forced(
    asked: str | None, name: str, ticks: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Log in with the forced command and ask for something."""
    environment = {"PATH": os.environ["PATH"]}
    if asked is not None:
        environment["SSH_ORIGINAL_COMMAND"] = asked
    return subprocess.run(
        argv_of(forced_command(), name),
        env=environment,
        input=ticks,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def answers_in(output: bytes) -> list[Answer]:
    """The answers of the usual nonce."""
    return AnswerAssembler(NONCE).feed(output)


@pytest.mark.parametrize("login_shell", ["dash", "bash", "busybox", "zsh", "tcsh", "fish"])
def test_the_forced_command_answers_ticks_under_each_login_shell(login_shell: str):
    """Would let back: a host with a forced command that is never read."""
    environment = {**os.environ, "SSH_ORIGINAL_COMMAND": probe_command(NONCE)}
    argv = argv_of(forced_command(), "dash", login_shell)
    with live_probe(argv, environment=environment) as probe:
        for tick in (0, 58_000_000):
            assert parse_answer(probe.ask(tick)).disk_total_bytes is not None
        assert probe.assembler.noise == ""


@each_shell
def test_a_forced_command_that_is_older_than_the_client_answers(name: str):
    """Would let back: every host locked out when the probe's text changes."""
    asked = f"exec /bin/sh -c 'a program of next year' resmon {NONCE}"
    (answer,) = answers_in(run_forced(asked, name, b"i\nnew-word\n7\n").stdout)
    assert answer.tick == 7


@each_shell
@pytest.mark.parametrize(
    "asked",
    [
        None,
        "",
        "ls",
        "resmon",
        "exec /bin/sh -c '' resmon short",
        f"x resmon {'a' * 65}",
        "x resmon abcdefgh;touch${IFS}{mark}",
        "x resmon $(touch${IFS}{mark})",
        "x resmon `touch${IFS}{mark}` 1",
        "x resmon abcdefgh\n1",
        "x resmon abcdefg*",
        "x resmon äöüäöüäöü",
        "x' resmon 'abcdefgh",
        "x resmon 'abcdefgh'",
        "x resmon \\abcdefgh",
        "x resmon abcdefgh|",
    ],
)
def test_nothing_but_a_nonce_is_taken_from_what_is_asked(
    name: str, asked: str | None, tmp_path: Path
):
    """Would let back: the holder of Resmon's key running a command of their own."""
    mark = tmp_path / "mark"
    asked = None if asked is None else asked.replace("{mark}", str(mark))
    done = run_forced(asked, name, b"1\n")
    assert not mark.exists()
    if asked == "x resmon abcdefgh\n1":  # a nonce and a tick: that much may be asked
        assert done.stdout.startswith(b"@@RESMON1 abcdefgh B 1\r")
        return
    assert (done.returncode, done.stdout) == (64, b"")
    assert b"runs the probe of Resmon and nothing else" in done.stderr


@each_shell
@pytest.mark.parametrize("tick", ["-1", "x", "1;id", "$(id)", "a[$(id)]", "/etc/*", "9" * 40])
def test_a_tick_that_is_none_is_not_answered(name: str, tick: str):
    """Would let back: words of the request that reach more than a comparison."""
    done = run_forced(f"x resmon {NONCE} {tick}", name, b"1\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@each_shell
@pytest.mark.parametrize("is_forced", [True, False])
def test_a_single_shot_needs_no_standard_input(name: str, *, is_forced: bool):
    """Would let back: no answer where a wrapper closes standard input."""
    asked = single_shot_command(NONCE, 7, with_inodes=True)
    command = forced_command() if is_forced else asked
    done = subprocess.run(
        argv_of(command, name),
        env={**os.environ, "SSH_ORIGINAL_COMMAND": asked},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    (answer,) = answers_in(done.stdout)
    reading = parse_answer(answer)
    assert answer.tick == 7
    assert reading.cpu is not None
    assert reading.file_systems
    assert {fs.type is None for fs in reading.file_systems} == {False}


@each_shell
def test_a_single_shot_ends_only_when_its_disk_frame_is_out(name: str, tmp_path: Path):
    """Would let back: no disk where a wrapper collects output until the command ends."""
    output = tmp_path / "output"
    with output.open("wb") as file:
        argv = probe_argv(NONCE, shell=shell_of(name))
        subprocess.run([*argv, "7"], stdout=file, timeout=DEADLINE_SECONDS, check=True)
        (answer,) = answers_in(output.read_bytes())
    assert answer.disk is not None


@each_shell
def test_a_single_shot_without_disk_starts_nothing(name: str):
    """Would let back: a df per tick that hangs, until the host is full of them."""
    done = run_forced(single_shot_command(NONCE, 7, with_disk=False), name)
    (answer,) = answers_in(done.stdout)
    assert (answer.disk, answer.disk_reason) == (None, "no-disk")
    assert parse_answer(answer).cpu is not None


def test_the_line_is_one_line_with_every_quote_escaped():
    """Would let back: a line that sshd cuts or reads as another."""
    line = authorized_keys_line(KEY, comment="resmon@a host\n", sources=["10.0.0.0/8", "*.b.org"])
    start = 'restrict,from="10.0.0.0/8,*.b.org",command="'
    assert line.startswith(start)
    assert line.endswith(f'" {KEY} resmon@a-host')
    assert line.isprintable()
    assert len(line) < LONGEST_LINE_BYTES / 2
    value = line.removeprefix(start).removesuffix(f'" {KEY} resmon@a-host')
    assert '"' not in value.replace('\\"', "")
    assert value.replace('\\"', '"') == forced_command()


@pytest.mark.parametrize("source", ["10.0.0.1/8", 'a"b', "a b", "", "300.0.0.0/8"])
def test_a_source_that_sshd_would_not_read_is_refused(source: str):
    """Would let back: a line that locks Resmon out, or one with options of its own."""
    with pytest.raises(ConfigurationInvalid, match="source of logins"):
        authorized_keys_line(KEY, comment="resmon", sources=[source])


def test_a_probe_of_another_version_is_named():
    """Would let back: a forced command of another release that looks like a broken shell."""
    assembler = AnswerAssembler(NONCE)
    assert assembler.feed(b"@@RESMON7 another-nonce B 1\r") == []
    with pytest.raises(ProbeUnreadable, match=r"version 7 .*authorize-line"):
        assembler.feed(f"@@RESMON7 {NONCE} B 1\r".encode())
