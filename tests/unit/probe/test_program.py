"""The real probe in real shells on this machine, and on folders that look like another one."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from resmon_resources.probe.framing import Answer
from resmon_resources.probe.program import (
    MAX_MOUNTS,
    probe_argv,
    probe_command,
    probe_source,
)
from resmon_resources.probe.reading import Interface, Reading, parse_answer
from tests.unit.probe.live_probe import (
    DEADLINE_SECONDS,
    NONCE,
    SHELLS,
    LiveProbe,
    argv_on,
    children_of,
    live_probe,
    shell_of,
)

pytestmark = pytest.mark.skipif(
    not Path("/proc/stat").is_file(), reason="the probe measures Linux only; there is no /proc here"
)

each_shell = pytest.mark.parametrize("name", SHELLS)


# --- the text -------------------------------------------------------------------------------------


def test_the_command_survives_any_login_shell():
    """Would break on tcsh (newline, history) or fish (double backslash) only."""
    command = probe_command(NONCE)
    assert command.startswith("exec /bin/sh -c '")
    assert command.endswith(f"' resmon {NONCE}")
    assert command.count("'") == 2
    assert not {"\n", "\r"} & set(command)
    assert "\\\\" not in command
    assert command.count("!") == command.count("! ")


@pytest.mark.parametrize(
    "nonce",
    ["", "short", "a" * 65, "abcdefgh'", "abcdefg h", "abcdefgh\n", "äöüäöüäöü"],
)
def test_a_nonce_that_is_not_letters_and_digits_is_refused(nonce: str):
    """Would let a nonce run a command on every server."""
    with pytest.raises(ValueError, match="nonce"):
        probe_command(nonce)
    with pytest.raises(ValueError, match="nonce"):
        probe_argv(nonce)


@each_shell
@pytest.mark.parametrize("with_disk", [True, False])
def test_the_readable_program_is_valid_in_each_shell(name: str, *, with_disk: bool):
    """Would let the text that people read differ from the one that runs."""
    source = probe_source(with_disk=with_disk)
    result = subprocess.run(
        [*shell_of(name), "-n", "-c", source], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert probe_argv(NONCE, with_disk=with_disk)[2] == " ".join(source.splitlines())


# --- this machine ---------------------------------------------------------------------------------


def this_machine() -> dict[str, float]:
    """The same figures, read by Python."""
    meminfo = dict(
        line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines() if ":" in line
    )
    root = os.statvfs("/")
    return {
        "uptime_ms": float(Path("/proc/uptime").read_text().split()[0]) * 1000,
        "cpu": sum(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])),
        "memory_total": int(meminfo["MemTotal"].split()[0]) * 1024,
        "memory_available": int(meminfo["MemAvailable"].split()[0]) * 1024,
        "root_total": root.f_blocks * root.f_frsize,
        "root_used": (root.f_blocks - root.f_bfree) * root.f_frsize,
        "now": time.time(),
    }


def assert_is_this_machine(parsed: Reading, before: dict[str, float], after: dict[str, float]):
    """Every figure lies between what Python read before and after, or near it."""
    assert parsed.uptime_ms is not None
    assert before["uptime_ms"] - 20 <= parsed.uptime_ms <= after["uptime_ms"] + 20
    assert parsed.cpu is not None
    c = parsed.cpu
    total = c.user + c.nice + c.system + c.idle + c.iowait + c.irq + c.softirq + c.steal
    assert before["cpu"] - 100 <= total <= after["cpu"] + 100
    assert parsed.cpu_count == os.cpu_count()
    assert parsed.memory_total_bytes == before["memory_total"]
    assert parsed.memory_available_bytes is not None
    assert (
        abs(parsed.memory_available_bytes - after["memory_available"]) < before["memory_total"] / 4
    )
    assert parsed.load_1m is not None
    assert parsed.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert parsed.file_systems is not None
    root = {fs.mount: fs for fs in parsed.file_systems}["/"]
    assert root.total_bytes == pytest.approx(before["root_total"], abs=1024)
    assert root.used_bytes == pytest.approx(after["root_used"], rel=0.2)
    assert parsed.clock_epoch_seconds is not None
    assert before["now"] - 2 <= parsed.clock_epoch_seconds <= after["now"] + 2


@each_shell
def test_three_ticks_show_this_machine(name: str):
    """Would ship a probe that one of the three shells reads differently."""
    with live_probe(probe_argv(NONCE, shell=shell_of(name))) as probe:
        for tick in (1, 22, 333):
            before = this_machine()
            answer = probe.ask(tick)
            assert answer.tick == tick
            assert probe.assembler.noise == ""
            assert_is_this_machine(parse_answer(answer), before, this_machine())
        assert_ends_at_end_of_file(probe)


@each_shell
def test_no_frame_holds_a_newline(name: str):
    """Would mix frames of df and core: bash writes at each newline of one printf."""
    with live_probe(probe_argv(NONCE, shell=shell_of(name))) as probe:
        probe.ask(1)
        assert probe.output.count(b"\r") > 15
        assert b"\n" not in probe.output


def assert_ends_at_end_of_file(probe: LiveProbe):
    """Closing its input ends the probe with success."""
    assert probe.process.stdin is not None
    probe.process.stdin.close()
    assert probe.process.wait(DEADLINE_SECONDS) == 0


@pytest.mark.parametrize("login_shell", ["dash", "bash", "busybox", "zsh", "tcsh", "fish"])
def test_the_command_runs_under_each_login_shell(login_shell: str):
    """Would lose every server whose user has another shell."""
    argv = [*shell_of(login_shell), "-c", probe_command(NONCE)]
    with live_probe(argv) as probe:
        assert parse_answer(probe.ask(1)).cpu is not None
        assert_ends_at_end_of_file(probe)


@each_shell
def test_lines_that_are_no_tick_are_ignored(name: str):
    """Would answer, or end, on a stray line."""
    with live_probe(probe_argv(NONCE, shell=shell_of(name))) as probe:
        for line in ("", "x", "-1", "1 2", "$(id)", "`id`", "a[$(id)]", "9" * 40, "*"):
            probe.send(line)
        assert probe.ask(8).tick == 8
        assert probe.assembler.noise == ""


@each_shell
def test_a_single_shot_is_one_line_and_end_of_file(name: str):
    """Would break hosts that allow one forced command per connection."""
    result = subprocess.run(
        probe_argv(NONCE, shell=shell_of(name)),
        input=b"7\n",
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    with live_probe(["true"]) as probe:
        (answer,) = probe.assembler.feed(result.stdout)
    assert answer.tick == 7
    assert answer.disk is not None
    assert result.stderr == b""


@each_shell
def test_without_the_disk_part_nothing_is_started(name: str):
    """Would make the cheap variant fork."""
    with live_probe(probe_argv(NONCE, shell=shell_of(name), with_disk=False)) as probe:
        answer = probe.ask(1)
        assert (answer.disk, answer.disk_reason) == (None, "no-disk")
        assert parse_answer(answer).cpu is not None
        assert children_of(probe.process.pid) == []


@each_shell
def test_children_do_not_pile_up(name: str):
    """Would leave a zombie per tick: 2,880 a day on every server."""
    with live_probe(probe_argv(NONCE, shell=shell_of(name))) as probe:
        for tick in range(1, 31):
            probe.ask(tick)
        assert len(children_of(probe.process.pid)) <= 1


def test_noise_before_and_a_forged_marker_do_no_harm():
    """Would take what an rc file prints for data."""
    noise = r'printf "Welcome\n@@RESMON1 B 1\nup 1 1\n@@RESMON1 E 1\n\377\n"; '
    with live_probe(["/bin/sh", "-c", noise + probe_command(NONCE)]) as probe:
        answer = probe.ask(1)
        assert parse_answer(answer).uptime_ms != 1000
        assert probe.assembler.noise.startswith("Welcome\n@@RESMON1 B 1\nup 1 1")


@pytest.mark.parametrize("environment", [{}, {"PATH": ""}, {"PATH": "/nonexistent"}])
def test_an_unusual_path_still_finds_the_tools(environment: dict[str, str]):
    """Would lose the disk on hosts whose sshd gives no PATH."""
    with live_probe(probe_argv(NONCE), environment=environment) as probe:
        assert parse_answer(probe.ask(1)).disk_total_bytes is not None


def test_the_language_of_the_host_does_not_matter():
    """Would misread df where it speaks German or groups digits."""
    environment = {**os.environ, "LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8", "BLOCK_SIZE": "'1"}
    with live_probe(probe_argv(NONCE), environment=environment) as probe:
        assert parse_answer(probe.ask(1)).disk_total_bytes is not None


# --- tools that are missing or hang ---------------------------------------------------------------


def tool(folder: Path, name: str, script: str) -> None:
    """An executable that stands first on PATH."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def path_with(folder: Path) -> dict[str, str]:
    """Environment in which the folder comes first."""
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@each_shell
@pytest.mark.parametrize("has_timeout", [True, False])
def test_a_df_that_hangs_holds_nothing_else_up(name: str, tmp_path: Path, *, has_timeout: bool):
    """Would blank a server, or fill it with hung processes, when one disk does not answer."""
    shell = shell_of(name)
    os.mkfifo(tmp_path / "never")
    tool(
        tmp_path,
        "df",
        f'if [ -e "{tmp_path}/pid" ]; then exec {shutil.which("df")} "$@"; fi\n'
        f'trap "" TERM; echo $$ > "{tmp_path}/pid.new"; mv "{tmp_path}/pid.new" "{tmp_path}/pid"\n'
        f'read -r x < "{tmp_path}/never"',
    )
    if not has_timeout:
        tool(tmp_path, "timeout", "exit 127")
    with live_probe(probe_argv(NONCE, shell=shell), environment=path_with(tmp_path)) as probe:
        probe.send(1)
        eventually((tmp_path / "pid").is_file, "df was not started")
        hung = int((tmp_path / "pid").read_text())
        try:
            for tick in (2, 3, 4):
                answer = probe.ask(tick)
                assert (answer.tick, answer.disk_reason) == (tick, "df-busy")
                assert parse_answer(answer).cpu is not None
            late = probe.assembler.expire(1)
            assert late is not None
            assert late.disk_reason == "disk-late"
        finally:
            os.kill(hung, signal.SIGKILL)
        ticks = iter(range(5, 5000))
        eventually(lambda: probe.ask(next(ticks)).disk is not None, "df was never tried again")


def test_a_missing_df_is_named(tmp_path: Path):
    """Would show a server without df as one with an empty disk."""
    tool(tmp_path, "df", "exit 127")
    with live_probe(probe_argv(NONCE), environment=path_with(tmp_path)) as probe:
        parsed = parse_answer(probe.ask(1))
    assert (parsed.disk_reason, parsed.disk_total_bytes) == ("df-missing", None)
    assert parsed.clock_epoch_seconds is not None


def test_without_grep_there_is_no_disk_rather_than_a_part_of_it(tmp_path: Path):
    """Would store `/` alone as the whole disk."""
    tool(tmp_path, "grep", "exit 127")
    with live_probe(probe_argv(NONCE), environment=path_with(tmp_path)) as probe:
        assert probe.ask(1).disk_reason == "no-mounts"


def test_a_date_without_nanoseconds_is_read(tmp_path: Path):
    """Would lose the clock of old busybox hosts."""
    tool(tmp_path, "date", "echo 1795293319.%N")
    with live_probe(probe_argv(NONCE), environment=path_with(tmp_path)) as probe:
        assert parse_answer(probe.ask(1)).clock_epoch_seconds == 1795293319.5


# --- other machines -------------------------------------------------------------------------------

NET_HEADING = (
    "Inter-|   Receive                            |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n"
)


def other_machine(root: Path, **files: str) -> Path:
    """Folders that stand for /proc and /sys, with as much as the core needs."""
    content = {
        "proc/stat": "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\ncpu1 1\ncpu2 1\nintr 5\n",
        "proc/uptime": "100.00 1.00\n",
        "proc/loadavg": "0.1 0.2 0.3 1/2 3\n",
        "proc/meminfo": "MemTotal:  1000 kB\nMemFree: 10 kB\nMemAvailable: 400 kB\nBuffers: 7 kB\n",
        "proc/mounts": "/dev/sda / ext4 rw 0 0\n",
        "proc/net/dev": NET_HEADING,
    } | {name.replace("_", "/"): text for name, text in files.items()}
    for name, text in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def ask_other(root: Path, shell: tuple[str, ...] = ("/bin/sh",)) -> Answer:
    """One answer of that machine, with its own df when there is one."""
    with live_probe(argv_on(root, shell), environment=path_with(root)) as probe:
        return probe.ask(1)


def interface_line(name: str, received: int, sent: int, gap: str = " ") -> str:
    """A line of /proc/net/dev; old kernels leave no gap behind the colon."""
    return f"{name:>6}:{gap}{received} 1 0 0 0 0 0 0 {sent} 1 0 0 0 0 0 0\n"


@each_shell
def test_the_recorded_proc_of_another_machine(name: str, tmp_path: Path):
    """Would measure this machine only. Values read off the files by eye."""
    source = Path(__file__).parents[4] / "shared/data/procfs_fixtures/proc"
    if not source.is_dir():
        pytest.skip("no recorded /proc in ../shared")
    root = other_machine(
        tmp_path,
        proc_stat=(source / "stat").read_text(),
        proc_loadavg=(source / "loadavg").read_text(),
        proc_meminfo=(source / "meminfo").read_text(),
        proc_net_dev=(source / "net/dev").read_text(),
    )
    parsed = parse_answer(ask_other(root, shell_of(name)))
    assert parsed.cpu is not None
    assert (parsed.cpu.user, parsed.cpu.idle, parsed.cpu.guest_nice) == (301854, 8979004, 0)
    assert parsed.cpu_count == 8
    assert (parsed.load_1m, parsed.load_15m) == (0.02, 0.05)
    assert parsed.memory_available_bytes == 15204908 * 1024
    assert parsed.interfaces == (Interface("eth0", 874354587, 563352563),)


@each_shell
def test_only_interfaces_with_a_device_count(name: str, tmp_path: Path):
    """Would double the traffic of bonds, bridges, VLANs and accelerated cloud networks."""
    names = ["lo", "eth0", "eth1", "bond0", "vlan7", "eth0.5", "vmbr0", "enP1s1", "eth9", "veth1"]
    lines = [interface_line(n, 10 * i, i) for i, n in enumerate(names)]
    root = other_machine(tmp_path, proc_net_dev=NET_HEADING + "".join(lines))
    net = root / "sys/class/net"
    for n in names:
        (net / n).mkdir(parents=True)
    for n in ("eth0", "eth1", "enP1s1", "eth9"):
        (net / n / "device").mkdir()
    for n in ("eth0", "eth1"):
        (net / n / "master").symlink_to(net / "bond0")
    (net / "enP1s1" / "master").symlink_to(net / "eth9")
    parsed = parse_answer(ask_other(root, shell_of(name)))
    assert parsed.interfaces == (
        Interface("eth0", 10, 1),
        Interface("eth1", 20, 2),
        Interface("eth9", 80, 8),
    )


def test_a_container_without_devices_counts_what_is_left(tmp_path: Path):
    """Would show no network in containers, or count links and loopback."""
    lines = interface_line("lo", 5, 5) + interface_line("eth0", 123, 7, gap="")
    lines += interface_line("bond0", 1, 1) + interface_line("eth0.5", 1, 1)
    parsed = parse_answer(ask_other(other_machine(tmp_path, proc_net_dev=NET_HEADING + lines)))
    assert parsed.interfaces == (Interface("eth0", 123, 7),)


@each_shell
def test_mounts_are_chosen_by_type_and_device(name: str, tmp_path: Path):
    """Would touch a network mount (and hang), count a device twice, or lose names with blanks."""
    mounts = [
        "rootfs / rootfs rw 0 0", "/dev/sda1 / ext4 rw 0 0", "proc /proc proc rw 0 0",
        "nas:/x /nfs nfs4 rw 0 0", "sshfs /fuse fuse.sshfs rw 0 0", "tmpfs /run tmpfs rw 0 0",
        r"/dev/sdb1 /mnt/my\040data\043\134%s* xfs rw 0 0", "/dev/sdb1 /bind xfs rw 0 0",
        "/dev/loop3 /snap/x ext4 rw 0 0", "/dev/zram0 /var/log ext4 rw 0 0",
        "/dev/sdc1 /boot/efi vfat rw 0 0", "tank/home /home zfs rw 0 0",
        r"/dev/sdd[1] /ext4\011tab ext3 rw 0 0", "overlay /var/lib/docker/m overlay rw 0 0",
    ]  # fmt: skip
    root = other_machine(tmp_path, proc_mounts="\n".join(mounts) + "\n")
    tool(root, "df", f'for a; do printf "%s\\n" "$a"; done > "{root}/asked"; exit 1')
    answer = ask_other(root, shell_of(name))
    assert (root / "asked").read_text().splitlines() == [
        "-Pk", "/", "/", "/mnt/my data#\\%s*", "/home", "/ext4\ttab",
    ]  # fmt: skip
    assert answer.disk is not None
    assert answer.disk[0] == "df 1"
    assert answer.disk[2:4] == ("root ext4", "mounts 5")


def test_a_long_mount_table_is_cut_and_said_so(tmp_path: Path):
    """Would send a command line without end, or totals that are too small."""
    mounts = "".join(f"/dev/sd{i} /m{i} ext4 rw 0 0\n" for i in range(MAX_MOUNTS + 5))
    root = other_machine(tmp_path, proc_mounts=mounts)
    tool(root, "df", 'shift; for a; do echo "/dev/x$a 100 40 60 40% $a"; done')
    parsed = parse_answer(ask_other(root))
    assert parsed.mounts_asked == MAX_MOUNTS
    assert parsed.disk_reason == "df-cut"
    assert parsed.file_systems is not None
    assert len(parsed.file_systems) == MAX_MOUNTS


def test_a_new_mount_is_seen_within_ten_ticks(tmp_path: Path):
    """Would keep the mount table of the first tick for ever."""
    root = other_machine(tmp_path)
    tool(root, "df", 'shift; for a; do echo "/dev/x$a 100 40 60 40% $a"; done')
    with live_probe(argv_on(root), environment=path_with(root)) as probe:
        assert parse_answer(probe.ask(1)).mounts_asked == 1
        (root / "proc/mounts").write_text("/dev/sda / ext4 rw 0 0\n/dev/sdb /b ext4 rw 0 0\n")
        assert parse_answer([probe.ask(tick) for tick in range(2, 12)][-1]).mounts_asked == 2


@each_shell
def test_a_host_without_proc_says_so_and_goes_on_answering(name: str, tmp_path: Path):
    """Would time out on macOS or BSD instead of naming the reason."""
    with live_probe(argv_on(tmp_path, shell_of(name))) as probe:
        for tick in (1, 2):
            answer = probe.ask(tick)
            assert answer.unsupported is not None
            assert answer.unsupported.startswith("no-proc Linux")


def test_parts_of_proc_that_are_missing_blank_only_themselves(tmp_path: Path):
    """Would carry the value of the tick before, or lose the rest."""
    root = other_machine(tmp_path)
    with live_probe(argv_on(root), environment=path_with(root)) as probe:
        assert parse_answer(probe.ask(1)).load_1m == 0.1
        for name in ("loadavg", "meminfo", "uptime", "net/dev"):
            (root / "proc" / name).unlink()
        parsed = parse_answer(probe.ask(2))
    assert parsed.cpu is not None
    assert (parsed.load_1m, parsed.memory_total_bytes, parsed.uptime_ms) == (None, None, None)
    assert parsed.interfaces == ()
