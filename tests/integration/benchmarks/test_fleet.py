"""The simulated fleet: what it says is what a host says, and it leaves nothing behind."""

import itertools
import json
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.fleet import FAULTS, core_frame, disk_frame, limit_problems, plan, read_servers
from resmon_assets.raw.difference import sample_between
from resmon_resources.channels import Target
from resmon_resources.fleet import open_once
from resmon_resources.known_hosts import KnownHosts
from resmon_resources.probe.framing import AnswerAssembler
from resmon_resources.probe.reading import parse_answer
from resmon_resources.settings import PROJECT_ROOT
from tests.fixtures_services import free_port
from tests.fixtures_ssh import children_of, poll_until

NONCE = "0123456789abcdef"
FLEET = str(PROJECT_ROOT / "benchmarks" / "fleet.py")


def reading_at(uptime, *, seed=3):
    """What the collector reads of a simulated host after so many seconds."""
    head = f"@@RESMON1 {NONCE}"
    frames = core_frame(head, 1, seed=seed, uptime=uptime, boot=0)
    frames += disk_frame(head, 1, seed=seed, now=1_750_000_000 + uptime, uptime=uptime)
    (answer,) = AnswerAssembler(NONCE).feed(frames.encode())
    return parse_answer(answer), len(frames)


@pytest.fixture
def fleet(tmp_path):
    """Starts simulators and ends them."""
    processes = []

    def start(*arguments, **options):
        process = subprocess.Popen(
            [sys.executable, FLEET, "--folder", str(tmp_path), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.terminate()
        process.wait(60)
        process.stdout.close()


@pytest.mark.parametrize("seed", range(12))
def test_a_simulated_host_is_read_whole(seed):
    """A benchmark would measure the parser on frames that no host sends: too small, or half empty,
    or with counters that step back (which cost nothing further on)."""
    for uptime in (1.0, 100_000.0, 5_000_000.0):
        before, size = reading_at(uptime, seed=seed)
        after, _ = reading_at(uptime + 30, seed=seed)
        between = sample_between(
            before,
            after,
            server_id=1,
            organization_id=1,
            collected_at=datetime(2026, 3, 1, tzinfo=UTC),
            clock_skew_seconds=0.0,
        )
        sample = asdict(between)
        assert size >= 1000
        assert len(after.interfaces) == 4
        assert len(after.file_systems) == 7
        assert 0 < sample["cpu_pct"] < 100
        assert sample["network_in_bytes"] > 0
        assert 0 < sample["memory_used_bytes"] < sample["memory_total_bytes"]
        assert 0 < sample["disk_used_bytes"] < sample["disk_total_bytes"]
        assert sample["elapsed_ms"] == 30_000


def test_faults_are_spread_and_told_by_the_address():
    """All faulty servers in one stretch, or a share that is not what was asked for, would measure
    another fleet than the one named beside the figure."""
    hosts = plan(10_000, faulty_share=0.05, faults=list(FAULTS))
    faulty = [host for host in hosts if host.fault]
    assert len(faulty) == 500
    assert max(b.index - a.index for a, b in itertools.pairwise(faulty)) == 20
    assert len({host.address for host in hosts}) == 10_000
    octets = {fault.octet: name for name, fault in FAULTS.items()}
    for host in hosts:
        assert octets.get(int(host.address.split(".")[1]), "") == host.fault


def test_limits_that_are_too_low_are_named():
    """Without it a fleet of a million begins, and fails somewhere in the middle of a benchmark."""
    problems = " ".join(limit_problems(3_000_000, processes=1, collectors=2))
    assert "a process of the simulator needs 9000200" in problems
    assert "a collector of 3000000 servers needs 3000800" in problems
    assert limit_problems(10, processes=1, collectors=2) == []


@pytest.mark.integration
def test_the_fleet_counts_and_ends_without_a_trace(fleet, tmp_path):
    """A simulator that outlives its benchmark holds the port and the CPU of the next one."""
    port = free_port()
    process = fleet("--servers", "4", "--port", str(port), "--faults", "refuse,hang_banner",
                    "--faulty-share", "0.5")  # fmt: skip
    assert json.loads(process.stdout.readline())["faulty"] == 2
    hosts = read_servers(tmp_path)
    assert [host.fault for host in hosts] == ["", "refuse", "", "hang_banner"]
    assert len((tmp_path / "known_hosts").read_text().splitlines()) == 4
    with socket.create_connection((hosts[0].address, port), timeout=20) as sound:
        assert sound.recv(4) == b"SSH-"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((hosts[1].address, port), timeout=20)
    process.send_signal(signal.SIGUSR1)
    figures = json.loads(process.stdout.readline())
    assert figures["cpu_seconds"] > 0
    assert figures["logins"] == 0
    workers = children_of(process.pid)
    assert len(workers) == 2
    process.terminate()
    assert process.wait(60) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


@pytest.mark.integration
def test_the_fleet_goes_with_its_parent(tmp_path):
    """A benchmark that is killed must not leave two processes with ten thousand ports behind."""
    script = (
        "import subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE); "
        "p.stdout.readline(); print(p.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [*(sys.executable, "-c", script, sys.executable, FLEET, "--servers", "2"),
         *("--port", str(free_port()), "--folder", str(tmp_path))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    simulator = int(parent.stdout.readline())
    family = [simulator, *children_of(simulator)]
    parent.kill()
    parent.wait(60)
    parent.stdin.close()
    parent.stdout.close()
    poll_until(lambda: not any(is_running(pid) for pid in family), what="the simulator to end")


def is_running(pid):
    """Whether it lives and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.integration
def test_a_restricted_host_is_read_by_a_session_per_tick(fleet, tmp_path):
    """A benchmark would count hosts that keep no session open as sound ones, or as lost."""
    port = free_port()
    process = fleet("--servers", "2", "--port", str(port), "--faults", "restricted",
                    "--faulty-share", "0.5")  # fmt: skip
    process.stdout.readline()
    modes = {}
    for number, host in enumerate(read_servers(tmp_path)):
        target = Target(
            server_id=number,
            name=f"host-{number}",
            transport="ssh",
            host=host.address,
            port=port,
            user_name="resmon",
            identity_file=str(tmp_path / "client"),
        )
        channel = open_once(target, known_hosts=KnownHosts(tmp_path / "known_hosts"))
        try:
            for tick in (1, 2):
                assert len(parse_answer(channel.ask(tick, 20)).file_systems or ()) == 7
            modes[host.fault] = channel.mode
        finally:
            channel.close()
    assert modes == {"": "pull", "restricted": "exec"}
