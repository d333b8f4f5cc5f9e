"""Mounts from the wire: inodes and types on demand, what counts once, and a mount that hangs.

The folders of tests/golden/mounts hold /proc/mounts and both outputs of df of one kind of machine.
"""

import os
import shutil
from pathlib import Path

import pytest

from resmon_resources.probe.framing import Answer
from resmon_resources.probe.program import probe_argv
from resmon_resources.probe.reading import FileSystem, Reading, parse_answer
from tests.unit.probe.live_probe import (
    NONCE,
    SHELLS,
    LiveProbe,
    argv_on,
    live_probe,
    shell_of,
)
from tests.unit.probe.test_program import other_machine, path_with, tool

pytestmark = pytest.mark.skipif(
    not Path("/proc/stat").is_file(), reason="the probe measures Linux only; there is no /proc here"
)

each_shell = pytest.mark.parametrize("name", SHELLS)

MOUNTS = Path(__file__).parents[2] / "golden" / "mounts"
KIB = 1024


def ask(probe: LiveProbe, tick: int, *, with_inodes: bool = True) -> Reading:
    """One reading, with inodes and types unless told otherwise."""
    if with_inodes:
        probe.send("i")
    return parse_answer(probe.ask(tick))


def root_of(reading: Reading) -> FileSystem:
    """The file system of `/`."""
    assert reading.file_systems is not None
    return {fs.mount: fs for fs in reading.file_systems}["/"]


# --- inodes and types on demand -------------------------------------------------------------------


@pytest.mark.parametrize("df", ["coreutils", "busybox"])
@each_shell
def test_a_tick_tells_inodes_and_types_when_asked_and_only_then(name: str, df: str, tmp_path: Path):
    """Would miss inodes on busybox hosts, or start a second df at every tick."""
    real = f"{shell_of('busybox')[0]} df" if df == "busybox" else shutil.which("df")
    tool(tmp_path, "df", f'echo "$1" >> "{tmp_path}/calls"; exec {real} "$@"')
    known = dict(line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines())
    with live_probe(
        probe_argv(NONCE, shell=shell_of(name)), environment=path_with(tmp_path)
    ) as probe:
        plain = root_of(ask(probe, 1, with_inodes=False))
        stat = os.statvfs("/")
        detailed = root_of(ask(probe, 2))
        again = root_of(ask(probe, 3, with_inodes=False))
        assert probe.assembler.noise == ""
    for fs in (plain, again):
        assert (fs.type, fs.inodes_total, fs.inodes_used) == (None, None, None)
    assert detailed.type == known["/"]
    assert detailed.total_bytes == plain.total_bytes
    assert detailed.inodes_total == (stat.f_files or None)
    if stat.f_files:
        assert detailed.inodes_used == pytest.approx(stat.f_files - stat.f_ffree, rel=0.2, abs=99)
    assert (tmp_path / "calls").read_text().split() == ["-Pk", "-Pk", "-Pi", "-Pk"]


@each_shell
def test_a_df_without_inodes_gives_sizes_and_types(name: str, tmp_path: Path):
    """Would lose the disk on busybox built without `df -i`."""
    root = other_machine(tmp_path)
    tool(root, "df", 'case $1 in *i*) echo "df: invalid option" >&2; exit 1;; esac\n'
         'shift; for a; do echo "/dev/sda 100 40 60 40% $a"; done')  # fmt: skip
    with live_probe(argv_on(root, shell_of(name)), environment=path_with(root)) as probe:
        reading = ask(probe, 1)
    assert reading.file_systems == (
        FileSystem("/dev/sda", "/", 100 * KIB, 40 * KIB, 60 * KIB, type="ext4"),
    )


@each_shell
def test_an_older_probe_ignores_the_question(name: str):
    """Would lose the tick itself on a host whose forced command prints an older probe."""
    argv = probe_argv(NONCE, shell=shell_of(name))
    older = argv[-3].replace("case $k in i) n=i; continue;; esac;", "")
    assert older != argv[-3]
    with live_probe([*argv[:-3], older, *argv[-2:]]) as probe:
        assert root_of(ask(probe, 1)).type is None


# --- what counts once -----------------------------------------------------------------------------


def recorded(case: str, root: Path) -> Path:
    """That machine, with a df that answers for the mounts it is asked for, as the real one does."""
    folder = MOUNTS / case
    other_machine(root, proc_mounts=(folder / "mounts").read_text())
    tool(
        root,
        "df",
        f'f=df; [ "$1" = -Pi ] && f=inodes; shift; read -r head < "{folder}/$f"; echo "$head"\n'
        'for a; do while IFS= read -r line; do case $line in *" $a") echo "$line";; esac\n'
        f'done < "{folder}/$f"; done',
    )
    return root


@each_shell
@pytest.mark.parametrize(
    ("case", "mounts", "used_kib", "total_kib"),
    [
        # Each device once; the bind mounts /home and /srv/chroot/etc are not asked for.
        (
            "bind_mounts",
            {
                "/": ("ext4", 1310720, 228417),
                "/srv": ("xfs", 52428800, 1048576),
                "/mnt/old backup": ("ext4", 3276800, 900),
            },
            9302204 + 61234560 + 12345678,
            20509264 + 104806400 + 51290592,
        ),
        # Three subvolumes are one file system, without a fixed number of inodes.
        (
            "btrfs_subvolumes",
            {"/": ("btrfs", None, None), "/boot": ("ext4", 65536, 436)},
            201326592 + 412560,
            497906688 + 996780,
        ),
        # A pool is the use of its datasets and, once, what it has left.
        (
            "zfs_datasets",
            {
                "/": ("zfs", 170145830, 145830),
                "/boot": ("zfs", 3000305, 305),
                "/root": ("zfs", 170000021, 21),
                "/var/log": ("zfs", 170000700, 700),
                "/tank/vm images": ("zfs", 4000000012, 12),
            },
            5177536 + 1024 + 300000 + 240672 + 1000000000,
            (5177536 + 1024 + 300000 + 85000000) + (240672 + 1500000) + 3000000000,
        ),
        # The root of a container is the disk on which /etc/resolv.conf lies.
        (
            "overlay_root",
            {
                "/": ("overlay", 3870720, 400000),
                "/etc/resolv.conf": ("ext4", 3870720, 400000),
                "/data": ("ext4", 6553600, 5000),
            },
            15211008 + 20537534,
            30298176 + 102687672,
        ),
        # The overlays of containers lie on the root; a volume in two places is one device.
        (
            "docker_host",
            {
                "/": ("ext4", 3870720, 400000),
                "/var/lib/kubelet/plugins/kubernetes.io/csi/pv/pvc-1/globalmount": (
                    "ext4",
                    655360,
                    11,
                ),
            },
            15211008 + 24576,
            30298176 + 10218772,
        ),
        # Memory, images on loop devices and the boot partition are no disks of their own.
        ("tmpfs_and_squashfs", {"/": ("ext4", 6451200, 189000)}, 7602176, 50620216),
        # What lies on another machine is not this one's, and is never touched.
        (
            "nfs",
            {"/": ("xfs", 36700160, 130000), "/boot": ("xfs", 524288, 370)},
            11534336 + 398336,
            73364480 + 1038336,
        ),
    ],
)
def test_every_byte_of_disk_counts_once(
    name: str,
    case: str,
    mounts: dict[str, tuple[str, int | None, int | None]],
    used_kib: int,
    total_kib: int,
    tmp_path: Path,
):
    """Would show twice the disk on hosts with bind mounts, subvolumes, datasets or containers."""
    root = recorded(case, tmp_path)
    with live_probe(argv_on(root, shell_of(name)), environment=path_with(root)) as probe:
        reading = ask(probe, 1)
    assert reading.file_systems is not None
    found = {fs.mount: (fs.type, fs.inodes_total, fs.inodes_used) for fs in reading.file_systems}
    assert found == mounts
    assert (reading.disk_used_bytes, reading.disk_total_bytes) == (used_kib * KIB, total_kib * KIB)
    assert (reading.disk_reason, reading.mounts_asked) == (None, len(mounts))


def test_every_recorded_machine_is_tested():
    """Would leave a golden folder that no test reads."""
    cases = {folder.name for folder in MOUNTS.iterdir()}
    (mark,) = (
        mark
        for mark in test_every_byte_of_disk_counts_once.pytestmark
        if mark.args[0] == ("case", "mounts", "used_kib", "total_kib")
    )
    assert {row[0] for row in mark.args[1]} == cases


# --- a mount that hangs ---------------------------------------------------------------------------


def hanging_machine(root: Path) -> Path:
    """Three mounts; df hangs on /b while the file `hang` is there. The limits are short."""
    other_machine(
        root,
        proc_mounts="/dev/sda / ext4 rw 0 0\n/dev/sdb /b xfs rw 0 0\n/dev/sdc /c ext4 rw 0 0\n",
    )
    (root / "hang").touch()
    (root / "real").mkdir()
    real = shutil.which("timeout")
    # The host's limits of 10, 2 and 5 s take a tenth of a second here, where something hangs.
    tool(root, "timeout", f'echo "$@" >> "{root}/calls"; s=$1; shift\n'
         f'case "$* " in *" /b "*) [ -e "{root}/hang" ] && s=0.1;; esac\n'
         f'exec {real} $s "$@"')  # fmt: skip
    tool(root, "df", 'f=$1; shift; for a; do case $a in /b) [ -e "${0%/*}/hang" ] && '
         'exec sleep 60;; esac; echo "/dev/x$a 100 40 60 40% $a"; done')  # fmt: skip
    return root


@each_shell
def test_a_hung_mount_costs_only_its_own_value(name: str, tmp_path: Path):
    """Would blank every file system of a server because one of its disks does not answer."""
    if shutil.which("timeout") is None:
        pytest.fail("timeout is not installed")
    root = hanging_machine(tmp_path)
    with live_probe(argv_on(root, shell_of(name)), environment=path_with(root)) as probe:
        first = ask(probe, 1)
        assert (first.disk_reason, first.file_systems) == ("df-timeout", None)
        second = ask(probe, 2)
        assert second.disk_reason == "df-hung"
        assert (second.disk_used_bytes, second.disk_total_bytes) == (None, None)
        assert second.file_systems is not None
        assert {fs.mount: (fs.type, fs.device, fs.total_bytes, fs.inodes_total)
                for fs in second.file_systems} == {
            "/": ("ext4", "/dev/x/", 100 * KIB, 100),
            "/c": ("ext4", "/dev/x/c", 100 * KIB, 100),
            "/b": ("xfs", "/dev/sdb", None, None),
        }  # fmt: skip
        plain = ask(probe, 3, with_inodes=False)
        assert plain.file_systems is not None
        assert [fs.mount for fs in plain.file_systems] == ["/", "/c"]
        (root / "hang").unlink()
        assert ask(probe, 4).disk_total_bytes == 300 * KIB
        (root / "calls").unlink()
        assert ask(probe, 5, with_inodes=False).disk_total_bytes == 300 * KIB
        assert (root / "calls").read_text() == "10 df -Pk / /b /c\n", "all at once again"


def test_many_hung_mounts_are_given_up_in_time(tmp_path: Path):
    """Would let a lost storage network keep the disk frame beyond the limit of an answer."""
    devices = "".join(f"/dev/sd{i} /m{i} ext4 rw 0 0\n" for i in range(9))
    root = other_machine(tmp_path, proc_mounts=f"/dev/sda / ext4 rw 0 0\n{devices}")
    tool(root, "timeout", f'echo "$1" >> "{root}/calls"; case $* in *"/m"*) exit 124;; esac; '
         'shift; exec "$@"')  # fmt: skip
    tool(root, "df", 'echo "/dev/sda 100 40 60 40% /"')
    with live_probe(argv_on(root), environment=path_with(root)) as probe:
        assert ask(probe, 1).disk_reason == "df-timeout"
        (root / "calls").unlink()
        reading = ask(probe, 2)
    assert (root / "calls").read_text().split() == ["2", "2", "2", "2", "2", "5"]
    assert reading.file_systems is not None
    assert {fs.mount for fs in reading.file_systems if fs.total_bytes is None} == {
        f"/m{i}" for i in range(9)
    }


# --- lines ----------------------------------------------------------------------------------------


def detailed(*lines: str) -> tuple[FileSystem, ...] | None:
    """Parse a disk frame with these lines after the size of `/` and `/x`."""
    head = ("df 0", "now 1", "root ext4", "mounts 2",
            "/dev/a 100 40 60 40% /", "/dev/b 100 40 60 40% /x")  # fmt: skip
    core = ("up 1.00 1.00", "load 0.1 0.1 0.1 1/1 1")
    return parse_answer(Answer(tick=1, core=core, disk=(*head, *lines))).file_systems


def test_the_uppermost_of_two_mounts_on_one_point_gives_the_type():
    """Would name the file system below, which df does not see."""
    found = detailed("inodes 0", "types", "rootfs rootfs /", "ext4 /dev/a /", "xfs /dev/b /x")
    assert found is not None
    assert [fs.type for fs in found] == ["ext4", "xfs"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/dev/a 200 50 150 25% /", (200, 50)),
        ("/dev/a 200 0 200 0% /", (200, 0)),
        ("/dev/a 0 0 0 - /", (None, None)),
        ("/dev/a 200 201 0 100% /", (200, None)),
        ("/dev/a - - - - /", (None, None)),
        ("/dev/a 200 50 150 25% /other", (None, None)),
    ],
)
def test_inodes_are_true_or_none(line: str, expected: tuple[int | None, int | None]):
    """Would show 0 of 0 inodes on btrfs, or more used than there are."""
    found = detailed("inodes 0", "Filesystem Inodes IUsed IFree IUse% Mounted on", line, "types",
                     "ext4 /dev/a /", "rubbish")  # fmt: skip
    assert found is not None
    assert (found[0].inodes_total, found[0].inodes_used) == expected


def test_a_frame_cut_short_in_its_details_keeps_the_sizes():
    """Would lose the disk for a detail."""
    found = detailed("inodes 0", "/dev/a 200 50 150 25% /")
    assert found is not None
    assert [(fs.mount, fs.type, fs.inodes_total) for fs in found] == [
        ("/", None, None),
        ("/x", None, None),
    ]
