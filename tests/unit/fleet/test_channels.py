"""The channel to this machine's probe, and the bookkeeping that all channels share."""

import os
import threading
import time
from pathlib import Path

import pytest

from resmon_resources.channels import (
    Attempt,
    Limits,
    LocalChannel,
    Step,
    Target,
    new_nonce,
    quote_output,
)
from resmon_resources.errors import CollectionError
from resmon_resources.fleet import open_once
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.probe.reading import parse_answer
from resmon_resources.ssh import host_key_preference
from tests.fixtures_ssh import children_of, command_line_of, poll_until

HERE = Target(server_id=1, name="here", transport="local", host="localhost")


def test_the_local_probe_answers(tmp_path: Path) -> None:
    """What a newcomer sees first is this machine."""
    steps: list[Step] = []
    channel = open_once(HERE, known_hosts=KnownHosts(tmp_path / "none"), on_step=steps.append)
    try:
        assert [step.name for step in steps] == ["shell", "read"]
        assert parse_answer(channel.first_answer).memory_total_bytes
        assert channel.ask(7, 20).tick == 7
    finally:
        channel.close()


def test_closing_ends_the_whole_process_group() -> None:
    """A df that hangs in the background must not outlive the channel."""
    before = set(children_of(os.getpid()))
    channel = LocalChannel(HERE, Limits())
    try:
        assert channel.process_id in set(children_of(os.getpid())) - before
        channel.abort()
    finally:
        channel.close()
    channel.abort()
    poll_until(lambda: not set(children_of(os.getpid())) - before, what="processes left")


def test_a_probe_that_was_killed_is_an_error_with_its_signal() -> None:
    """The end of the probe must end the wait for its answer."""
    channel = LocalChannel(HERE, Limits())
    try:
        channel.abort()
        with pytest.raises(CollectionError, match="exit status 137") as caught:
            channel.ask(0, 20)
        assert caught.value.cause == "no_shell"
    finally:
        channel.close()


def test_a_machine_without_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container without /bin/sh must be told from one that is down."""
    monkeypatch.setattr(
        "resmon_resources.channels.probe_argv", lambda nonce: ["/nonexistent/sh", nonce]
    )
    with pytest.raises(CollectionError, match="/bin/sh") as caught:
        LocalChannel(HERE, Limits())
    assert (caught.value.cause, caught.value.step) == ("no_shell", "shell")


def test_a_channel_without_a_first_answer_says_so() -> None:
    """A forgotten priming must not look like a server's fault."""
    channel = LocalChannel(HERE, Limits())
    try:
        with pytest.raises(RuntimeError, match="not primed"):
            _ = channel.first_answer
    finally:
        channel.close()


def scripted(script: str, monkeypatch: pytest.MonkeyPatch, limits: Limits) -> LocalChannel:
    """A local channel to another program; $1 is the nonce."""
    argv = ["/bin/sh", "-c", script, "sh"]
    monkeypatch.setattr("resmon_resources.channels.probe_argv", lambda nonce: [*argv, nonce])
    return LocalChannel(HERE, limits)


ECHO = 'while read -r k; do echo "@@RESMON1 $1 B $k"; echo "@@RESMON1 $1 E $k"; '
NO_DISK = 'echo "@@RESMON1 $1 X $k no-mounts"; '


def sleeps(process_id: int) -> bool:
    """Whether a shell has come as far as `sleep`, in its place or below it."""
    family = (process_id, *children_of(process_id))
    return any(command_line_of(one).startswith(b"sleep\0") for one in family)


@pytest.mark.parametrize(
    ("script", "cause", "words"),
    [
        ("echo welcome; sleep 60", "unreadable", "begins with: welcome"),
        ("sleep 60", "timeout", "in 0.3 s"),
        ("read -r k; echo only words", "unreadable", "only words"),
        ("echo denied >&2; exit 3", "no_shell", "exit status 3, after: denied"),
    ],
)
def test_what_is_no_probe(
    monkeypatch: pytest.MonkeyPatch, script: str, cause: str, words: str
) -> None:
    """Silence, foreign words and a refusal are three causes."""
    channel = scripted(script, monkeypatch, Limits())
    is_silent = "sleep" in script
    try:
        if is_silent:
            poll_until(lambda: sleeps(channel.process_id), what="it sleeps")
        with pytest.raises(CollectionError) as caught:
            channel.ask(0, 0.3 if is_silent else 20)
        assert caught.value.cause == cause
        assert words in str(caught.value)
    finally:
        channel.close()


def test_answers_of_ticks_that_nobody_waits_for_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A late answer must not be taken for that of a later instant, nor one be delivered twice."""
    script = f"{ECHO}{NO_DISK}{ECHO.replace('while read -r k; do', '')}{NO_DISK} done"
    channel = scripted(script, monkeypatch, Limits())
    try:
        channel.request(1)
        channel.request(2)
        channel.give_up(1)
        answers = []
        poll_until(lambda: answers.extend(channel.read()) or bool(answers))  # type: ignore[func-returns-value]
        assert channel.ask(3, 20).tick == 3
        assert [answer.tick for answer in answers] == [2]
        assert not channel.awaits(1)
    finally:
        channel.close()


def test_the_core_is_taken_when_the_disk_part_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU and memory must not wait for a hung mount, and not be lost when they come late."""
    late = f"sleep 0.4; {ECHO} done"
    channel = scripted(late, monkeypatch, Limits(disk_answer=0.1))
    try:
        answer = channel.ask(0, 20)
        assert answer.disk_reason == "disk-late"
        assert channel.take_core(0) is None
    finally:
        channel.close()


def test_an_answer_before_the_end_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last words of a probe that is ended come first, then the end."""
    channel = scripted(f"{ECHO}{NO_DISK} exit 0; done", monkeypatch, Limits())
    try:
        assert channel.ask(0, 20).tick == 0
        with pytest.raises(CollectionError, match="exit status 0"):
            channel.ask(1, 20)
    finally:
        channel.close()


def test_a_flood_ends_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that prints for ever must not fill our memory."""
    channel = scripted("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyy; done", monkeypatch, Limits())
    try:
        with pytest.raises(CollectionError) as caught:
            channel.ask(0, 60)
        assert caught.value.cause == "unreadable"
    finally:
        channel.close()


def test_ticks_that_cannot_be_written_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full pipe must not block the thread that serves all others."""
    channel = scripted("sleep 60", monkeypatch, Limits())
    try:
        began = time.monotonic()
        for tick in range(10**17, 10**17 + 8_000):
            channel.request(tick)
        assert channel.is_postponed
        assert time.monotonic() - began < 20
    finally:
        channel.close()


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        (b"  one\r\n two\t", "one two"),
        (b"\x1b[31mred\xff", "?[31mred\\xff"),
        ("x" * 300, "x" * 200 + "..."),
    ],
)
def test_foreign_output_is_quoted_harmlessly(noise: bytes | str, expected: str) -> None:
    """Control characters of a host must not reach a terminal or a log."""
    assert quote_output(noise) == expected


def test_known_key_types_are_asked_for_first() -> None:
    """rsa is one key with two signature names; the order of the rest stays."""
    offered = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256")
    assert host_key_preference(("ssh-rsa",), offered) == (
        *("rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519", "ecdsa-sha2-nistp256"),
    )
    assert host_key_preference((), offered) == offered


def test_an_attempt_that_was_aborted_cuts_what_it_gets_later() -> None:
    """A socket that was connected after the abort would hang until its limits."""
    attempt = Attempt(Limits(total=0.0))
    cuts: list[str] = []
    attempt.hold(lambda: cuts.append("first"))
    attempt.abort()
    attempt.hold(lambda: cuts.append("second"))
    assert cuts == ["first", "second"]
    assert attempt.seconds_left(10) == pytest.approx(0.001)


def test_nonces_differ_and_no_thread_is_left() -> None:
    """A guessable nonce lets a start file forge answers."""
    assert new_nonce() != new_nonce()
    assert len(new_nonce()) == 16
    assert threading.active_count() >= 1


def test_inodes_come_with_the_tick_that_asks_for_them() -> None:
    """The question must not reach another tick, nor stay behind when its tick is given up."""
    channel = LocalChannel(HERE, Limits())
    try:
        types = []
        for tick, with_inodes in ((0, False), (1, True), (2, False), (3, True)):
            # The df of the tick before may still be ending: then it is asked again.
            answer = channel.ask(tick, 20, with_inodes=with_inodes)
            while answer.disk_reason == "df-busy":
                later = answer.tick + 10
                answer = channel.ask(later, 20, with_inodes=with_inodes)
            found = parse_answer(answer).file_systems
            assert found is not None
            types.append({fs.type is not None for fs in found})
        assert types == [{False}, {True}, {False}, {True}]
    finally:
        channel.close()
