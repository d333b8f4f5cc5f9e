"""Parsing of answers: true numbers, or None."""

from pathlib import Path

import pytest

from resmon_resources.errors import ProbeUnreadable
from resmon_resources.probe.framing import Answer, AnswerAssembler
from resmon_resources.probe.reading import (
    CpuCounters,
    FileSystem,
    Interface,
    Reading,
    parse_answer,
)
from tests.unit.probe.live_probe import GOLDEN, NONCE

CORE = {
    "boot": "20677f56-efb0-4415-84dc-2ae6dad78b62",
    "up": "1312.56 2365.13",
    "cpu": " 18128 1 5890 236513 851 2 168 68 3 4",
    "online": "0-1",
    "load": "0.25 0.36 0.20 2/111 9644",
    "mem": "MemTotal: 1000 MemFree: 100 MemAvailable: 400",
    "net": "eth0 1615707152 2316372",
}
HEADING = "Filesystem     1024-blocks     Used Available Capacity Mounted on"


def reading(*disk: str, status: int = 0, now: str = "1795293319.5", root: str = "ext4",
            mounts: str = "9", **changes: str | None) -> Reading:  # fmt: skip
    """Parse a healthy core with changes (None leaves a line out) and these lines of df."""
    lines = tuple(f"{key} {text}" for key, text in {**CORE, **changes}.items() if text is not None)
    head = (f"df {status}", f"now {now}", f"root {root}", f"mounts {mounts}", HEADING)
    return parse_answer(Answer(tick=5, core=lines, disk=(*head, *disk)))


def test_a_healthy_answer_is_read_in_full():
    """Would let a unit or a column slip."""
    assert reading("/dev/vda 264212084 26398416 79992496 25% /") == Reading(
        tick=5,
        boot_id="20677f56-efb0-4415-84dc-2ae6dad78b62",
        uptime_ms=1_312_560,
        cpu=CpuCounters(18128, 1, 5890, 236513, 851, 2, 168, 68, 3, 4),
        cpu_count=2,
        load_1m=0.25,
        load_5m=0.36,
        load_15m=0.20,
        memory_total_bytes=1_024_000,
        memory_available_bytes=409_600,
        interfaces=(Interface("eth0", 1615707152, 2316372),),
        file_systems=(
            FileSystem("/dev/vda", "/", 270553174016, 27031977984, 81912315904),
        ),
        disk_used_bytes=27031977984,
        disk_total_bytes=270553174016,
        disk_reason=None,
        mounts_asked=9,
        clock_epoch_seconds=1795293319.5,
    )  # fmt: skip


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.txt")), ids=lambda path: path.stem)
def test_recorded_outputs_of_real_shells_are_read_in_full(path: Path):
    """Would let a change of the parser break what deployed probes print."""
    answers = AnswerAssembler(NONCE).feed(path.read_bytes())
    assert [answer.tick for answer in answers] == [1, 2, 3]
    for answer in answers:
        parsed = parse_answer(answer)
        missing = [name for name in Reading.__slots__ if getattr(parsed, name) is None]
        assert missing == ["disk_reason"]
        assert parsed.memory_total_bytes == 24684092 * 1024
        assert parsed.disk_total_bytes == 264212084 * 1024
        assert parsed.interfaces == (Interface("eth0", 1738885569, 2416269),)


def test_recorded_counters_of_busybox():
    """Would let a column slip that the shape alone does not show."""
    first, *_ = AnswerAssembler(NONCE).feed((GOLDEN / "busybox.txt").read_bytes())
    parsed = parse_answer(first)
    assert parsed.uptime_ms == 2_811_620
    assert parsed.cpu == CpuCounters(137716, 51, 47474, 373060, 1510, 0, 406, 190, 0, 0)
    assert parsed.memory_used_bytes == (24684092 - 21963776) * 1024
    assert parsed.disk_used_bytes == 27339920 * 1024


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" 10 1 5 100", CpuCounters(10, 1, 5, 100, 0, 0, 0, 0, 0, 0)),
        (" 1 2 3 4 5 6 7 8 9 10 11 12", CpuCounters(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)),
        (" 1 2 3", None),
        (" 1 2 3 -4 5", None),
        (" 1 2 3 nan", None),
        (f" 1 2 3 {2**63}", None),
        ("", None),
    ],
)
def test_cpu(text: str, expected: CpuCounters | None):
    """Would misread old kernels (four fields) or believe a broken counter."""
    assert reading(cpu=text).cpu == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 1), ("0-3", 4), ("0-3,5,7-8", 7), ("count 6", 6), ("count 0", None), ("", None),
        ("3-0", None), ("0-999999", None), ("a", None), ("0-", None), ("count x", None),
    ],
)  # fmt: skip
def test_cpu_count(text: str, expected: int | None):
    """Would miscount a machine with cores taken offline."""
    assert reading(online=text).cpu_count == expected


@pytest.mark.parametrize(
    ("text", "total", "available"),
    [
        ("MemTotal: 1000 MemFree: 10 MemAvailable: 0", 1000, 0),
        ("MemTotal: 1000 MemFree: 10 MemAvailable: 1001", 1000, None),
        # 100 + 50 + 300 + 40 - 60, by hand.
        (
            "MemTotal: 1000 MemFree: 100 Buffers: 50 Cached: 300 Shmem: 60 SReclaimable: 40",
            1000,
            430,
        ),
        ("MemTotal: 1000 MemFree: 100 Buffers: 50 Cached: 300", 1000, 450),
        ("MemTotal: 1000 MemFree: 100 Buffers: 50", 1000, None),
        ("MemTotal: 1000 MemFree: 1 Buffers: 1 Cached: 1 Shmem: 9 SReclaimable: 1", 1000, None),
        ("MemTotal: 1000 MemAvailable: x", 1000, None),
        ("MemTotal: 0 MemAvailable: 0", None, None),
        ("MemFree: 100 MemAvailable: 10", None, None),
        ("MemTotal:", None, None),
    ],
)
def test_memory(text: str, total: int | None, available: int | None):
    """Would call an old kernel's page cache used, or a missing figure 0."""
    parsed = reading(mem=text)
    assert parsed.memory_total_bytes == (None if total is None else total * 1024)
    assert parsed.memory_available_bytes == (None if available is None else available * 1024)
    assert (parsed.memory_used_bytes is None) == (available is None)


def test_memory_of_the_recorded_proc_of_another_machine():
    """Would misread a real meminfo."""
    source = Path(__file__).parents[4] / "shared/data/procfs_fixtures/proc/meminfo"
    if not source.is_file():
        pytest.skip("no recorded /proc in ../shared")
    text = " ".join(source.read_text().replace("kB", "").split())
    # 440324 + 1020128 + 12007640 + 1738124 - 1308 kB, by hand: there is no MemAvailable in it.
    assert reading(mem=text).memory_available_bytes == 15204908 * 1024


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.00 1", 0), ("12.3 1", 12300), ("7 1", 7000), ("1.239", 1239), ("-1.0", None),
     ("inf", None), ("1e9", None), (f"{2**31}.0", None), ("", None)],
)  # fmt: skip
def test_uptime(text: str, expected: int | None):
    """Would make elapsed times wrong by a float's rounding, or overflow the column."""
    assert reading(up=text).uptime_ms == expected


def test_load_that_cannot_be_true_is_none():
    """Would store an infinite load."""
    parsed = reading(load="nan 1e400 9999999.0")
    assert (parsed.load_1m, parsed.load_5m, parsed.load_15m) == (None, None, None)
    assert reading(load="0.00").load_1m == 0.0
    assert reading(load="0.00").load_5m is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("a 1 2 b 3 4", (Interface("a", 1, 2), Interface("b", 3, 4))),
        ("a 1 2 b 3", None),
        ("a 1 -2 b 3 4", (Interface("b", 3, 4),)),
        (f"a 1 {2**63}", ()),
    ],
)
def test_interfaces(text: str, expected: tuple[Interface, ...] | None):
    """Would shift names and counters after a line that was cut."""
    assert reading(net=text).interfaces == expected
    assert reading(net=None).interfaces is None


def test_a_repeated_line_is_not_believed():
    """Would take the second of two contradicting values."""
    answer = Answer(tick=1, core=("load 1.0 1.0 1.0", "up 5.00 1", "up 6.00 1"), disk=None)
    assert parse_answer(answer).uptime_ms is None


def test_file_systems_with_blanks_and_odd_bytes():
    """Would lose mounts with blanks, or break Postgres with bytes that are not text."""
    parsed = reading(
        "/dev/mapper/a b 100 40 60 40% /mnt/my data",
        "tank/home 200 50 150 25% /caf\udce9\x1b",
        "none 0 0 0 - /proc",
        "/dev/sdb 100 -1 60 40% /negative",
        "/dev/sdc 100 200 60 40% /toomuch",
        "/dev/sda 100 10 - - /unknown",
        "df: /broken: Input/output error",
    )
    assert parsed.file_systems is not None
    assert [
        (fs.device, fs.mount, fs.used_bytes, fs.available_bytes) for fs in parsed.file_systems
    ] == [
        ("/dev/mapper/a b", "/mnt/my data", 40960, 61440),
        ("tank/home", "/caf\\xe9\\x1b", 51200, 153600),
        ("/dev/sdb", "/negative", None, 61440),
        ("/dev/sdc", "/toomuch", None, 61440),
        ("/dev/sda", "/unknown", 10240, None),
    ]
    # 40 + 50 + 10 used of 100 + (50 + 150) + 100: those without a use are in neither sum.
    assert (parsed.disk_used_bytes, parsed.disk_total_bytes) == (100 * 1024, 400 * 1024)


def test_totals_beyond_the_column_are_none():
    """Would fail the insert of the whole batch."""
    size = (2**63 - 1) // 1024
    parsed = reading(*(f"/dev/sd{i} {size} 1 1 1% /{i}" for i in range(2)))
    assert (parsed.disk_used_bytes, parsed.disk_total_bytes) == (None, None)


def test_a_device_mounted_twice_counts_once():
    """Would double the disk of every host with bind mounts."""
    parsed = reading("/dev/sda 100 40 60 40% /", "/dev/sda 100 40 60 40% /srv")
    assert (parsed.disk_used_bytes, parsed.disk_total_bytes) == (40960, 102400)


def test_datasets_of_a_zfs_pool_share_what_is_left():
    """Would count the free space of a pool once per dataset."""
    parsed = reading(
        "rpool/ROOT 700 100 600 15% /", "rpool/home 800 200 600 25% /home",
        "tank 50 10 40 20% /tank", root="zfs",
    )  # fmt: skip
    # rpool: 100 + 200 used and 600 left; tank: 10 and 40.
    assert (parsed.disk_used_bytes, parsed.disk_total_bytes) == (310 * 1024, 950 * 1024)


def test_the_overlay_root_of_a_container_is_not_counted_beside_its_disk():
    """Would double the disk of a container in which /etc/hosts is a bind mount."""
    mounts = ("overlay 100 40 60 40% /", "/dev/sda1 100 40 60 40% /etc/hosts")
    parsed = reading(*mounts, root="overlay")
    assert (parsed.disk_used_bytes, parsed.disk_total_bytes) == (40960, 102400)
    alone = reading(mounts[0], root="overlay")
    assert (alone.disk_used_bytes, alone.disk_total_bytes) == (40960, 102400)


@pytest.mark.parametrize(
    ("status", "lines", "reason"),
    [
        (124, ("/dev/sda 100 40 60 40% /",), "df-timeout"),
        (143, (), "df-timeout"),
        (127, (), "df-missing"),
        (1, (), "df-failed"),
        (0, (), "df-failed"),
    ],
)
def test_a_df_that_did_not_finish_gives_no_disk(status: int, lines: tuple[str, ...], reason: str):
    """Would store the part of the file systems that came before df was stopped."""
    parsed = reading(*lines, status=status)
    assert (parsed.disk_used_bytes, parsed.disk_total_bytes, parsed.file_systems) == (
        None,
        None,
        None,
    )
    assert parsed.disk_reason == reason
    assert parsed.clock_epoch_seconds == 1795293319.5


def test_a_df_that_may_not_read_one_mount_still_counts_the_others():
    """Would blank the disk of every host where one mount point is private."""
    parsed = reading("/dev/sda 100 40 60 40% /", status=1, mounts="2")
    assert (parsed.disk_used_bytes, parsed.disk_reason, parsed.mounts_asked) == (40960, None, 2)


def test_a_mount_list_that_was_cut_gives_no_totals():
    """Would store totals that are too small on a host with hundreds of file systems."""
    parsed = reading("/dev/sda 100 40 60 40% /", mounts="200 cut")
    assert (parsed.disk_used_bytes, parsed.disk_total_bytes) == (None, None)
    assert parsed.disk_reason == "df-cut"
    assert parsed.file_systems is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1795293319.250000000", 1795293319.25), ("1795293319", 1795293319.5),
     ("1795293319.", 1795293319.5), ("1795293319.%N", 1795293319.5), ("", None), ("x", None),
     ("12345678901234", None)],
)  # fmt: skip
def test_clock(text: str, expected: float | None):
    """Would show every busybox host half a second late."""
    assert reading(now=text).clock_epoch_seconds == expected


def test_a_core_without_anything_usable_is_unreadable():
    """Would store a row of nulls as a success."""
    with pytest.raises(ProbeUnreadable, match="neither CPU nor memory"):
        parse_answer(
            Answer(tick=1, core=("hello", "net eth0 1 2"), disk=None, disk_reason="df-busy")
        )


def test_an_unsupported_host_is_not_read():
    """Would store a row of nulls for a host without /proc."""
    with pytest.raises(ProbeUnreadable, match="no-proc Darwin"):
        parse_answer(Answer(tick=1, core=(), disk=None, unsupported="no-proc Darwin"))
