"""Limits of this machine that a large fleet meets: open files, threads, tasks of a control group.

Belongs here: what a fleet needs, reading the limits, raising the one that may be raised, and
sentences about those that are too low. Who says them is up to the callers.

An SSH connection is a descriptor of its collector, and no thread (ssh_hub.py); what is reached
through jump hosts is a thread per hop, and this machine itself a process. At the turn of an hour
two collectors run at the same time: what is counted per user, per control group or per machine must
hold both, what is counted per process one.
"""

import math
import os
import resource
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from resmon_resources.inventory import Server
from resmon_resources.proxy_jump import parse_proxy_jump

COLLECTORS_IN_HANDOVER = 2
SPARE_DESCRIPTORS = 800
"""Of a collector beside its servers: 512 connections being made, the database, Dagster."""

SPARE_TASKS = 400
"""Beside the connections: workers of the fleet, Dagster's processes, PostgreSQL's backends."""

MAPS_PER_THREAD = 2
"""A stack and its guard page (measured with 10,000 threads)."""

SPARE_MAPS = 5000
"""Libraries of a run of Dagster; about 2,000 were seen."""

DESCRIPTORS_OF_LOCAL = 3
CGROUP_ROOT = "sys/fs/cgroup"


@dataclass(frozen=True, slots=True)
class Need:
    """What collectors of a fleet need.

    Attributes:
        servers: how many are collected.
        threads: of hops, and processes of this machine's probe, of all shards together.
        descriptors: of the same connections.
        shards: collectors at the same time between which the servers are divided.
    """

    servers: int
    threads: int
    descriptors: int
    shards: int = 1

    @property
    def tasks(self) -> int:
        """Threads and processes on this machine at a handover."""
        return COLLECTORS_IN_HANDOVER * self.threads + SPARE_TASKS

    @property
    def descriptors_per_process(self) -> int:
        """Open files of one collector."""
        return math.ceil(self.descriptors / self.shards) + SPARE_DESCRIPTORS

    @property
    def maps_per_process(self) -> int:
        """Memory maps of one collector."""
        return MAPS_PER_THREAD * math.ceil(self.threads / self.shards) + SPARE_MAPS


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """A control group above this process with a limit of tasks."""

    path: str
    pids_max: int


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """Limits as they are; None means that there is none, or none that could be read.

    Attributes:
        nofile: open files of a process, the hard limit: the soft one is raised to it.
        nproc: tasks of the user (ulimit -u); None for root, whom it does not bind.
        threads_max: tasks of the machine.
        pid_max: numbers for tasks.
        max_map_count: memory maps of a process.
        groups: control groups that limit tasks, the innermost first.
    """

    nofile: int | None
    nproc: int | None
    threads_max: int | None
    pid_max: int | None
    max_map_count: int | None
    groups: tuple[ControlGroup, ...] = ()


def need_of(servers: Iterable[Server], *, shards: int = 1) -> Need:
    """What collecting these servers takes; those that are not active take nothing."""
    count = threads = descriptors = 0
    for server in servers:
        if server.state != "active":
            continue
        count += 1
        threads += 1 if server.transport == "local" else _hops(server)
        descriptors += DESCRIPTORS_OF_LOCAL if server.transport == "local" else 1
    return Need(count, threads, descriptors, shards)


def _hops(server: Server) -> int:
    """Jump hosts before a server; what cannot be read is told when it is opened."""
    with suppress(ValueError):
        return len(parse_proxy_jump(server.proxy_jump)) if server.proxy_jump else 0
    return 0


def raise_open_files() -> None:
    """Raise the soft limit of open files of this process, and of its children, to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def read_limits(root: Path = Path("/")) -> MachineLimits:
    """Read the limits of this process.

    Args:
        root: where proc and sys are; a folder in tests.
    """
    nofile = _rlimit(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    nproc = _rlimit(resource.getrlimit(resource.RLIMIT_NPROC)[0])
    return MachineLimits(
        nofile=nofile,
        nproc=None if os.geteuid() == 0 else nproc,
        threads_max=_number(root / "proc/sys/kernel/threads-max"),
        pid_max=_number(root / "proc/sys/kernel/pid_max"),
        max_map_count=_number(root / "proc/sys/vm/max_map_count"),
        groups=tuple(_groups(root)),
    )


def limit_problems(limits: MachineLimits, need: Need) -> list[str]:
    """What is too low: which limit, its value, what is needed, how to raise it. One line each."""
    tasks = need.tasks
    what = f"{need.servers} servers need {tasks} tasks when one collector hands over to the next"
    found = []
    if _is_below(limits.nofile, need.descriptors_per_process):
        found.append(
            f"Open files are limited to {limits.nofile} (hard limit); a collector of "
            f"{need.servers} servers needs {need.descriptors_per_process}. Raise LimitNOFILE= of "
            "the systemd unit, or nofile in /etc/security/limits.conf (ulimit -Hn), or set "
            "RESMON_COLLECT_SHARDS higher."
        )
    if _is_below(limits.nproc, tasks):
        found.append(
            f"Processes of this user are limited to {limits.nproc}; {what}. Raise LimitNPROC= of "
            "the systemd unit, or nproc in /etc/security/limits.conf (ulimit -u)."
        )
    found += [
        f"The control group {group.path} is limited to {group.pids_max} tasks (pids.max); {what}. "
        "Raise TasksMax= of the systemd unit or slice, podPidsLimit of the kubelet, or "
        "--pids-limit of the container."
        for group in limits.groups
        if group.pids_max < tasks
    ]
    if _is_below(limits.threads_max, tasks):
        found.append(
            f"This machine is limited to {limits.threads_max} threads; {what}. Raise it: "
            f"sysctl -w kernel.threads-max={2 * tasks}"
        )
    if _is_below(limits.pid_max, tasks):
        found.append(
            f"This machine has {limits.pid_max} process ids, which threads use too; {what}. Raise "
            f"it: sysctl -w kernel.pid_max={max(65_536, 2 * tasks)}"
        )
    if _is_below(limits.max_map_count, need.maps_per_process):
        found.append(
            f"Memory maps of a process are limited to {limits.max_map_count}; a collector of "
            f"{need.servers} servers needs {need.maps_per_process}, two per thread. Raise it: "
            f"sysctl -w vm.max_map_count={2 * need.maps_per_process}, or set "
            "RESMON_COLLECT_SHARDS higher."
        )
    return found


def _is_below(limit: int | None, needed: int) -> bool:
    """Whether there is a limit and it is too low."""
    return limit is not None and limit < needed


def _rlimit(value: int) -> int | None:
    """A limit of the process; None when there is none."""
    return None if value == resource.RLIM_INFINITY else value


def _groups(root: Path) -> Iterator[ControlGroup]:
    """Control groups of this process that limit tasks, up to the root that can be seen."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "pids" not in controllers.split(","):
            continue
        mounts = [CGROUP_ROOT + "/pids"] if controllers else [CGROUP_ROOT, CGROUP_ROOT + "/unified"]
        for mount in mounts:
            top = root / mount
            folder = top / path.lstrip("/")
            # In a container the path may be that of the host, of which only the end is mounted.
            for group in (folder, *folder.parents):
                limit = _number(group / "pids.max")
                if limit is not None:
                    yield ControlGroup(f"/{group.relative_to(root)}", limit)
                if group == top:
                    break


def _number(path: Path) -> int | None:
    """A number in a file of the kernel; None when there is none (`max`, or no such file)."""
    with suppress(OSError, ValueError):
        return int(path.read_text())
    return None
