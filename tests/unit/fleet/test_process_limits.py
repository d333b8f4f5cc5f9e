"""Limits of the machine: what a fleet needs of them, and the sentences about those too low."""

import resource
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from resmon_resources.inventory import Server
from resmon_resources.process_limits import (
    ControlGroup,
    MachineLimits,
    Need,
    limit_problems,
    need_of,
    raise_open_files,
    read_limits,
)

AMPLE = MachineLimits(
    nofile=1_048_576,
    nproc=None,
    threads_max=1_000_000,
    pid_max=4_194_304,
    max_map_count=1_048_576,
)
TEN_THOUSAND = Need(servers=10_000, threads=10_000, descriptors=10_000)
"""All behind one jump host."""


def server(server_id, **changes):
    """A server of the inventory."""
    values = {"transport": "ssh", "state": "active", "proxy_jump": None}
    return Server(
        server_id=server_id,
        name=f"server-{server_id}",
        organization_id=1,
        organization_name="default",
        host="10.0.0.1",
        port=22,
        user_name=None,
        identity_file=None,
        tags=(),
        interval_seconds=30,
        changed_at=datetime(2026, 1, 1, tzinfo=UTC),
        **values | changes,
    )


def test_each_hop_is_a_thread_and_each_server_a_socket_only():
    """Would let back: a fleet behind jump hosts that passes the check and runs out of threads."""
    need = need_of(
        [
            server(1),
            server(2, proxy_jump="jump.example.org,inner.example.org:2222"),
            server(3, transport="local"),
            server(4, state="paused"),
        ]
    )
    assert need == Need(servers=3, threads=3, descriptors=5, shards=1)


def test_a_handover_counts_twice_where_both_collectors_count():
    """Would let back: a limit that fits one collector, and is met at every turn of the hour."""
    assert TEN_THOUSAND.tasks == 20_400
    assert TEN_THOUSAND.descriptors_per_process == 10_800
    assert TEN_THOUSAND.maps_per_process == 25_000
    quartered = replace(TEN_THOUSAND, shards=4)
    assert quartered.tasks == 20_400, "the shards of one machine share its limits"
    assert quartered.descriptors_per_process == 3_300


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (replace(AMPLE, nofile=4096), ("Open files", "4096", "10800", "LimitNOFILE=")),
        (replace(AMPLE, nproc=8000), ("this user", "8000", "20400", "ulimit -u")),
        (replace(AMPLE, threads_max=15_000), ("15000", "20400", "kernel.threads-max=40800")),
        (replace(AMPLE, pid_max=20_399), ("20399", "20400", "kernel.pid_max=65536")),
        (replace(AMPLE, max_map_count=20_000), ("20000", "25000", "vm.max_map_count=50000")),
        (
            replace(AMPLE, groups=(ControlGroup("/sys/fs/cgroup/user.slice", 10_813),)),
            ("/sys/fs/cgroup/user.slice", "10813", "20400", "TasksMax=", "podPidsLimit"),
        ),
    ],
)
def test_a_limit_that_is_too_low_is_named_with_what_to_do(limits, words):
    """Would let back: a warning from which nobody can tell what to raise, and to what."""
    (problem,) = limit_problems(limits, TEN_THOUSAND)
    for word in words:
        assert word in problem


def test_what_suffices_is_not_complained_about():
    """Would let back: a warning at every start, which nobody reads after the second."""
    assert limit_problems(AMPLE, TEN_THOUSAND) == []
    unlimited = MachineLimits(None, None, None, None, None)
    assert limit_problems(unlimited, TEN_THOUSAND) == []
    exact = replace(AMPLE, nproc=20_400, pid_max=20_400, nofile=10_800, max_map_count=25_000)
    assert limit_problems(exact, TEN_THOUSAND) == []


@pytest.mark.parametrize(
    ("lines", "mount"),
    [
        ("0::/system.slice/resmon.service\n", "sys/fs/cgroup"),
        (
            "9:name=systemd:/x\n8:pids:/system.slice/resmon.service\n0::/\n",
            "sys/fs/cgroup/pids",
        ),
        ("0::/system.slice/resmon.service\n", "sys/fs/cgroup/unified"),
    ],
)
def test_every_control_group_above_the_process_counts(tmp_path, lines, mount):
    """Would let back: a slice with a lower limit than the unit's, of which nothing is said."""
    proc = tmp_path / "proc" / "self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text(lines)
    unit = tmp_path / mount / "system.slice" / "resmon.service"
    unit.mkdir(parents=True)
    (unit / "pids.max").write_text("max\n")
    (unit.parent / "pids.max").write_text("4915\n")
    (tmp_path / mount / "pids.max").write_text("30000\n")
    assert read_limits(tmp_path).groups == (
        ControlGroup(f"/{mount}/system.slice", 4915),
        ControlGroup(f"/{mount}", 30_000),
    )


def test_a_machine_without_any_of_these_files_has_no_limits(tmp_path):
    """Would let back: a collector that does not start on a kernel without control groups."""
    limits = read_limits(tmp_path)
    assert (limits.threads_max, limits.pid_max, limits.max_map_count) == (None, None, None)
    assert limits.groups == ()


def test_the_soft_limit_of_open_files_is_raised():
    """Would let back: 1,024 open files, the usual soft limit, for ten thousand connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lower = 256 if hard == resource.RLIM_INFINITY else min(256, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lower, hard))
    try:
        raise_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
