"""The sample store against a real PostgreSQL: one transaction per batch, repeatable, never
double."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from resmon_assets.raw.difference import status_of
from resmon_resources.inventory import add_organization, add_server
from resmon_resources.sample_store import (
    Committed,
    Failure,
    FileSystemUsage,
    Sample,
    Stretch,
    commit_batch,
    ensure_raw_partitions,
    latest_stretches,
)

pytestmark = pytest.mark.integration

HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)
T0 = HOUR + timedelta(minutes=59, seconds=40)


@pytest.fixture
def server(postgres):
    with postgres.connect() as connection:
        add_organization(connection, "default", now=HOUR - timedelta(days=1))
        server = add_server(
            connection,
            "web-1",
            host="10.0.0.1",
            now=HOUR - timedelta(days=1),
            organization="default",
        )
        ensure_raw_partitions(connection, start=HOUR, end=HOUR + timedelta(hours=2))
    return server


def sample_of(server, collected_at=T0, **values):
    return Sample(
        server_id=server.server_id,
        organization_id=server.organization_id,
        collected_at=collected_at,
        **values,
    )


def commit(connection, *, samples=(), failures=(), stretches=(), file_systems=()):
    return commit_batch(
        connection,
        samples=samples,
        failures=failures,
        stretches=stretches,
        status_of=status_of,
        shard=0,
        file_systems=file_systems,
    )


def file_system_of(server, mount="/", collected_at=T0, **values):
    return FileSystemUsage(
        server_id=server.server_id,
        organization_id=server.organization_id,
        collected_at=collected_at,
        mount=mount,
        device="/dev/sda1",
        **values,
    )


def stored_file_systems(connection):
    return connection.execute(
        "select mount, device, type, total_bytes, used_bytes, available_bytes, inodes_total, "
        "inodes_used from raw.filesystem_usage order by mount"
    ).fetchall()


def revisions(connection):
    # Registering a server bumps the hour of its registration, which is not one of these.
    return dict(
        connection.execute(
            "select hour, revision from ops.raw_hour where hour >= %s order by hour", (HOUR,)
        ).fetchall()
    )


def test_a_batch_lands_in_the_hours_of_its_instants(postgres, server):
    """Would let back: samples filed under the hour of their arrival, so that a tier misses them."""
    later = T0 + timedelta(seconds=30)
    with postgres.connect() as connection:
        done = commit(
            connection,
            samples=[
                sample_of(server, later, cpu_pct=50.0, network_in_bytes=3000, elapsed_ms=30_000),
                sample_of(server, cpu_pct=10.0),
            ],
        )
        assert done == Committed(inserted=2, duplicates=0)
        assert revisions(connection) == {HOUR: 1, HOUR + timedelta(hours=1): 1}
        status = connection.execute(
            "select status, last_metrics_at, cpu_pct, network_in_bytes_per_second from "
            "raw.server_status"
        ).fetchall()
    assert status == [("healthy", later, 50.0, 100.0)]


def test_the_same_batch_twice_changes_nothing(postgres, server):
    """Would let back: a retried batch that doubles rows or wakes every tier for nothing."""
    with postgres.connect() as connection:
        commit(connection, samples=[sample_of(server, cpu_pct=10.0)])
        again = commit(connection, samples=[sample_of(server, cpu_pct=99.0)])
        assert again == Committed(inserted=0, duplicates=1)
        assert revisions(connection) == {HOUR: 1}
        stored = connection.execute("select cpu_pct from raw.server_resource_metrics").fetchall()
    assert stored == [(10.0,)]


def test_null_is_stored_as_null(postgres, server):
    """Would let back: a metric that was not read shown as zero."""
    with postgres.connect() as connection:
        commit(connection, samples=[sample_of(server)])
        row = connection.execute(
            "select cpu_pct, memory_used_bytes, disk_used_bytes, network_in_bytes, load_1m, "
            "elapsed_ms from raw.server_resource_metrics"
        ).fetchone()
    assert row == (None,) * 6


def test_values_of_any_size_go_through(postgres, server):
    """Would let back: a batch refused because the first values were small integers."""
    huge = 2**62
    with postgres.connect() as connection:
        commit(
            connection,
            samples=[sample_of(server, memory_used_bytes=1, disk_total_bytes=huge, load_1m=0.5)],
        )
        row = connection.execute(
            "select memory_used_bytes, disk_total_bytes, load_1m from raw.server_resource_metrics"
        ).fetchone()
    assert row == (1, huge, 0.5)


def test_floats_of_any_kind_go_through(postgres, server):
    """Would let back: a column whose text form PostgreSQL reads as something else."""
    loads = [0.1, 1e-30, 3.4e38, math.inf, None, 12345.678]
    samples = [
        sample_of(server, T0 + timedelta(seconds=30 * i), load_1m=load)
        for i, load in enumerate(loads)
    ]
    with postgres.connect() as connection:
        commit(connection, samples=samples)
        rows = connection.execute(
            "select collected_at, load_1m, load_1m = any (%s::real[]) "
            "from raw.server_resource_metrics order by 1",
            (loads,),
        ).fetchall()
    assert [row[0] for row in rows] == [sample.collected_at for sample in samples]
    assert [row[1] is None for row in rows] == [load is None for load in loads]
    assert all(row[2] for row in rows if row[1] is not None)


def failure_of(server, attempted_at=T0, **values):
    return Failure(
        server.server_id, server.organization_id, attempted_at, "timeout", "no answer", **values
    )


def status_row(connection):
    return connection.execute(
        "select status, cause, consecutive_failures, last_metrics_at, cpu_pct from "
        "raw.server_status"
    ).fetchone()


def test_a_final_failure_keeps_the_last_values(postgres, server):
    """Would let back: a server that fails and loses what was last known of it."""
    with postgres.connect() as connection:
        commit(connection, samples=[sample_of(server, cpu_pct=10.0)])
        commit(connection, failures=[failure_of(server, T0 + timedelta(seconds=30))])
        assert status_row(connection) == ("error", "timeout", 1, T0, 10.0)


def test_a_single_lost_answer_is_not_an_error_yet(postgres, server):
    """Would let back: status flapping to error at each dropped connection; and three in a row
    ignored."""
    with postgres.connect() as connection:
        commit(connection, samples=[sample_of(server, cpu_pct=10.0)])
        for count in (1, 2, 3):
            instant = T0 + count * timedelta(seconds=30)
            commit(connection, failures=[failure_of(server, instant, is_final=False)])
            expected = "error" if count == 3 else "healthy"
            assert status_row(connection)[:3] == (expected, "timeout", count)


def test_a_server_that_never_answered_shows_its_cause_from_the_first_failure_on(postgres, server):
    """Would let back: a new server with a wrong key that is nowhere to be seen."""
    with postgres.connect() as connection:
        commit(connection, failures=[failure_of(server, is_final=False)])
        assert status_row(connection) == (None, "timeout", 1, None, None)
        commit(connection, failures=[failure_of(server, T0 + timedelta(seconds=30))])
        assert status_row(connection) == ("error", "timeout", 2, None, None)


def test_a_server_that_never_answered_is_an_error_after_three_lost_answers(postgres, server):
    """Would let back: a server that opens and breaks for ever, and waits for ever."""
    with postgres.connect() as connection:
        for count in (1, 2, 3):
            instant = T0 + count * timedelta(seconds=30)
            commit(connection, failures=[failure_of(server, instant, is_final=False)])
            expected = "error" if count == 3 else None
            assert status_row(connection)[:3] == (expected, "timeout", count)


def test_an_answer_clears_the_failure(postgres, server):
    """Would let back: a healthy server that still shows its old cause."""
    with postgres.connect() as connection:
        commit(connection, failures=[failure_of(server)])
        commit(connection, samples=[sample_of(server, T0 + timedelta(seconds=30), cpu_pct=95.0)])
        assert status_row(connection) == ("critical", None, 0, T0 + timedelta(seconds=30), 95.0)


def test_an_older_sample_does_not_turn_the_status_back(postgres, server):
    """Would let back: a late batch that makes the live table show the past."""
    with postgres.connect() as connection:
        commit(connection, samples=[sample_of(server, cpu_pct=95.0)])
        commit(connection, samples=[sample_of(server, T0 - timedelta(seconds=30), cpu_pct=1.0)])
        assert status_row(connection)[0] == "critical"


def test_coverage_grows_in_place(postgres, server):
    """Would let back: one row per flush instead of one per stretch."""
    first = Stretch(server.server_id, T0, T0, "ok", 1)
    longer = replace(first, ended_at=T0 + timedelta(seconds=60), instant_count=3)
    with postgres.connect() as connection:
        commit(connection, stretches=[first])
        commit(connection, stretches=[longer])
        commit(connection, stretches=[first])
        assert latest_stretches(connection, since=T0) == [longer]


def test_a_failing_batch_leaves_nothing(postgres, server):
    """Would let back: half a batch stored, and the ledger moved for rows that are not there."""
    stranger = replace(server, server_id=server.server_id + 1)
    with postgres.connect() as connection:
        with pytest.raises(Exception, match="foreign key"):
            commit(connection, samples=[sample_of(server), sample_of(stranger)])
        assert revisions(connection) == {}


def test_coverage_is_carried_on_to_the_last_sample(postgres, server):
    """Would let back: up to five minutes of a killed collector shown as if nobody had collected."""
    stretch = Stretch(server.server_id, T0, T0, "ok", 1)
    last = T0 + timedelta(seconds=90)
    with postgres.connect() as connection:
        commit(connection, samples=[sample_of(server, last)], stretches=[stretch])
        carried = latest_stretches(connection, since=T0)
    assert carried == [replace(stretch, ended_at=last, instant_count=4)]


def test_a_failing_stretch_is_not_carried_on(postgres, server):
    """Would let back: a failure that seems to last for as long as the server answers again."""
    stretch = Stretch(server.server_id, T0, T0, "timeout", 1)
    with postgres.connect() as connection:
        commit(
            connection,
            samples=[sample_of(server, T0 + timedelta(seconds=90))],
            stretches=[stretch],
        )
        assert latest_stretches(connection, since=T0) == [stretch]


def test_file_systems_are_stored_once_and_not_measured_is_null(postgres, server):
    """Would let back: rows doubled by two collectors, or 0 bytes for a mount that hung."""
    rows = [
        file_system_of(
            server,
            type="ext4",
            total_bytes=2**62,
            used_bytes=1,
            available_bytes=2,
            inodes_total=3,
            inodes_used=0,
        ),
        file_system_of(server, "/hung"),
    ]
    with postgres.connect() as connection:
        done = commit(connection, samples=[sample_of(server)], file_systems=rows)
        assert done == Committed(inserted=1, duplicates=0, file_systems=2)
        again = commit(connection, file_systems=[file_system_of(server, total_bytes=9), rows[1]])
        assert again == Committed(inserted=0, duplicates=0, file_systems=0)
        assert stored_file_systems(connection) == [
            ("/", "/dev/sda1", "ext4", 2**62, 1, 2, 3, 0),
            ("/hung", "/dev/sda1", None, None, None, None, None, None),
        ]


def test_file_systems_and_samples_are_one_transaction(postgres, server):
    """Would let back: a sample whose file systems are lost with a failing statement."""
    outside = file_system_of(server, collected_at=T0 - timedelta(days=400))
    with postgres.connect() as connection:
        with pytest.raises(psycopg.errors.CheckViolation):
            commit(connection, samples=[sample_of(server)], file_systems=[outside])
        assert connection.execute(
            "select count(*) from raw.server_resource_metrics"
        ).fetchone() == (0,)
