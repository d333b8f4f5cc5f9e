"""Servers whose samples are stored and judged as a collector does it, without one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import psycopg

from resmon_assets.alert_watch import AlertWatch
from resmon_assets.raw.difference import status_of
from resmon_resources.errors import Cause
from resmon_resources.inventory import Server, add_organization, add_server, list_servers
from resmon_resources.sample_store import (
    Committed,
    Failure,
    FileSystemUsage,
    Sample,
    Stretch,
    commit_batch,
    ensure_raw_partitions,
)
from tests.integration.alert.fleet import START

GIB = 2**30


def at(seconds: float) -> datetime:
    """An instant so long after START."""
    return START + timedelta(seconds=seconds)


def active_servers(connection: psycopg.Connection[Any]) -> list[Server]:
    """Servers that are collected."""
    return [server for server in list_servers(connection) if server.state == "active"]


@dataclass
class Site:
    """An inventory with one judge."""

    connection: psycopg.Connection[Any]
    watch: AlertWatch = field(default_factory=AlertWatch)

    def add(self, name: str, **settings: Any) -> Server:
        """A server; call `follow` afterwards."""
        known: dict[str, Any] = {"organization": "shop"}
        return add_server(self.connection, name, host=name, now=START, **known | settings)

    def follow(self, seconds: float = 0.0) -> None:
        """What the collector does every ten seconds."""
        self.watch.follow(self.connection, active_servers(self.connection), now=at(seconds))

    def restart(self, seconds: float = 0.0) -> None:
        """Another collector goes on."""
        self.watch = AlertWatch()
        self.follow(seconds)

    def commit(
        self,
        *items: Sample | Failure,
        mounts: Sequence[FileSystemUsage] = (),
        stretches: Sequence[Stretch] = (),
        now: datetime | None = None,
        is_part: bool = False,
    ) -> Committed:
        """Store and judge a batch."""
        instants = [_instant(item) for item in (*items, *mounts)]
        return commit_batch(
            self.connection,
            samples=[item for item in items if isinstance(item, Sample)],
            failures=[item for item in items if isinstance(item, Failure)],
            stretches=stretches,
            status_of=status_of,
            shard=0,
            file_systems=mounts,
            judge=partial(self.watch.judge, now=now or max(instants), is_part=is_part),
        )

    def events(self) -> list[tuple[str, str, float]]:
        """Subject, kind and seconds after START of all changes, in their order."""
        return self.connection.execute(
            "select subject_name, rule || ' ' || kind, extract(epoch from at - %s)::float8 "
            "from alert.alert_events join alert.alerts using (alert_id) order by event_id",
            (START,),
        ).fetchall()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        return self.connection.execute(query.encode()).fetchall()


def make_site(connection: psycopg.Connection[Any]) -> Site:
    """An organization without servers, and a day to store in."""
    add_organization(connection, "shop", now=START)
    ensure_raw_partitions(connection, start=START, end=START + timedelta(hours=3))
    return Site(connection)


def a_sample(server: Server, seconds: float, cpu: float | None = 5.0, **values: Any) -> Sample:
    """A sample of a server that is well, unless it is told otherwise; up since a day before."""
    known: dict[str, Any] = {
        "memory_used_bytes": 2 * GIB,
        "memory_total_bytes": 8 * GIB,
        "disk_used_bytes": 10 * GIB,
        "disk_total_bytes": 100 * GIB,
        "uptime_seconds": 86_400 + int(seconds),
    }
    return Sample(
        server.server_id, server.organization_id, at(seconds), cpu_pct=cpu, **known | values
    )


def a_failure(
    server: Server, seconds: float, cause: Cause = "refused", *, is_final: bool = True
) -> Failure:
    """An instant without a sample."""
    return Failure(
        server.server_id, server.organization_id, at(seconds), cause, "it said no", is_final
    )


def a_mount(
    server: Server, seconds: float, mount: str, used: int | None, *, total: int = 100 * GIB
) -> FileSystemUsage:
    """A file system with so many bytes used."""
    return FileSystemUsage(
        server.server_id,
        server.organization_id,
        at(seconds),
        mount,
        "/dev/sda1",
        "ext4",
        total if used is not None else None,
        used,
        None if used is None else total - used,
    )


def _instant(item: Sample | Failure | FileSystemUsage) -> datetime:
    return item.attempted_at if isinstance(item, Failure) else item.collected_at
