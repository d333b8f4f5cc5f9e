"""The raw asset in real Dagster runs against a real PostgreSQL, on this machine's own probe."""

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from dagster import DagsterInstance, materialize

from resmon_assets.naming import RAW_FILE_SYSTEMS, RAW_SAMPLES
from resmon_assets.partitions import hour_key
from resmon_assets.raw import assets
from resmon_assets.raw.assets import raw_server_resource_metrics
from resmon_assets.raw.difference import status_of
from resmon_resources import collector_registry as registry
from resmon_resources.archive_resource import ArchiveResource
from resmon_resources.inventory import add_organization, add_server
from resmon_resources.sample_store import Sample, commit_batch, ensure_raw_partitions
from resmon_resources.ssh_resource import SshResource
from tests.clock import running_hour

pytestmark = pytest.mark.integration


@pytest.fixture
def hour():
    """The running hour; a collector goes on for three minutes past it without a successor."""
    return running_hour()


@pytest.fixture
def server(postgres):
    """This machine, read every five seconds."""
    now = datetime.now(UTC) - timedelta(minutes=1)
    with postgres.connect() as connection:
        add_organization(connection, "default", now=now)
        return add_server(
            connection,
            "here",
            host="localhost",
            transport="local",
            organization="default",
            interval_seconds=5,
            now=now,
        )


@pytest.fixture
def instance():
    with DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def run_asset(postgres, tmp_path, instance, monkeypatch):
    """Materializes raw: a partition, or a range by tags."""
    monkeypatch.setenv("RESMON_HOME", str(tmp_path / "home"))

    def run(partition=None, *, tags=None):
        return materialize(
            [raw_server_resource_metrics],
            partition_key=partition,
            instance=instance,
            resources={
                "postgres": postgres,
                "ssh": SshResource(known_hosts=str(tmp_path / "known_hosts")),
                "archive": ArchiveResource(url=(tmp_path / "archive").as_uri()),
            },
            tags=tags,
            raise_on_error=False,
        )

    return run


def wait_for(condition, *, while_alive, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert while_alive.is_alive(), "the run ended before it happened"
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.2)


def count_samples(postgres):
    with postgres.connect() as connection:
        row = connection.execute("select count(*) from raw.server_resource_metrics").fetchone()
        assert row is not None
        return row[0]


def test_the_running_hour_is_collected_until_stopped(postgres, server, hour, run_asset, instance):
    """Would let back: a collector that stores nothing, cannot be stopped, or hides its figures."""
    results = []
    thread = threading.Thread(target=lambda: results.append(run_asset(hour_key(hour))))
    thread.start()
    try:
        wait_for(lambda: count_samples(postgres) >= 2, while_alive=thread)
        second = run_asset(hour_key(hour))
    finally:
        with postgres.connect(autocommit=True) as connection:
            registry.request_stop(connection, shard=0, hour=hour, now=datetime.now(UTC))
        thread.join(timeout=60)
    assert not thread.is_alive()

    assert not second.success
    (failure,) = second.get_step_failure_events()
    message = failure.step_failure_data.error_display_string
    assert "is being collected by run" in message
    assert results[0].run_id in message

    assert results[0].success
    (*_, last) = results[0].asset_materializations_for_node("raw__server_resource_metrics")
    values = {name: value.value for name, value in last.metadata.items()}
    assert values["samples"] == count_samples(postgres)
    assert values["success_rate"] == 1.0
    assert values["complete"] is (datetime.now(UTC) >= hour + timedelta(hours=1))
    assert values["ended_because"] == "stop requested"
    assert last.partition == hour_key(hour)
    assert instance.get_latest_materialization_event(RAW_SAMPLES) is not None
    with postgres.connect() as connection:
        row = connection.execute(
            "select cpu_pct between 0 and 100, memory_used_bytes > 0, disk_total_bytes > 0,"
            " network_in_bytes >= 0, load_1m >= 0, uptime_seconds > 0, abs(clock_skew_seconds) < 5"
            " from raw.server_resource_metrics order by collected_at desc limit 1"
        ).fetchone()
        ended = connection.execute("select end_reason from ops.collector").fetchall()
        mounts = connection.execute(
            "select mount, type is not null, used_bytes between 0 and total_bytes,"
            " inodes_total is null or inodes_used between 0 and inodes_total"
            " from resmon.filesystem_status where server_name = 'here'"
        ).fetchall()
        counted = connection.execute("select count(*) from raw.filesystem_usage").fetchone()
    assert row == (True,) * 7
    assert ("/", True, True, True) in mounts
    event = instance.get_latest_materialization_event(RAW_FILE_SYSTEMS)
    assert event is not None
    materialization = event.asset_materialization
    assert materialization is not None
    assert materialization.partition == hour_key(hour)
    assert (materialization.metadata["rows"].value,) == counted
    assert ended == [("stop requested",)]


def test_a_past_hour_with_rows_is_reported_and_unchanged(postgres, server, run_asset):
    """Would let back: a backfill of raw that collects today's values into yesterday."""
    past = running_hour() - timedelta(hours=3)
    with postgres.connect() as connection:
        ensure_raw_partitions(connection, start=past, end=past + timedelta(hours=1))
        commit_batch(
            connection,
            samples=[Sample(server.server_id, server.organization_id, past, cpu_pct=5.0)],
            failures=[],
            stretches=[],
            status_of=status_of,
            shard=0,
        )
    result = run_asset(hour_key(past))
    assert result.success
    (event,) = result.asset_materializations_for_node("raw__server_resource_metrics")
    assert event.metadata["samples"].value == 1
    assert event.metadata["complete"].value is True
    assert count_samples(postgres) == 1


def failure_text(result):
    (failure,) = result.get_step_failure_events()
    return failure.step_failure_data.error_display_string


def test_a_past_hour_without_rows_is_a_failure_that_says_so(postgres, run_asset):
    """Would let back: a green partition with nothing behind it."""
    past = running_hour() - timedelta(hours=3)
    result = run_asset(hour_key(past))
    assert not result.success
    assert "No sample is stored" in failure_text(result)


def test_the_coming_hour_is_refused_long_before_it_begins(run_asset, monkeypatch):
    """Would let back: a run by hand that sits and waits for most of an hour."""
    monkeypatch.setattr(assets, "EARLIEST_START", timedelta(0))
    coming = running_hour() + timedelta(hours=1)
    result = run_asset(hour_key(coming))
    assert not result.success
    assert "can be collected from 0 minutes before" in failure_text(result)


def test_a_range_into_the_running_hour_is_refused(postgres, run_asset):
    """Would let back: a backfill of a day that blocks on the hour being collected."""
    now = running_hour()
    result = run_asset(
        tags={
            "dagster/asset_partition_range_start": hour_key(now - timedelta(hours=2)),
            "dagster/asset_partition_range_end": hour_key(now),
        }
    )
    assert not result.success
    assert "reaches into the running hour" in failure_text(result)


def test_what_lives_as_long_as_the_run_is_not_looked_through_for_garbage():
    """Would let back: a second without a tick, several times a minute, with 10,000 servers."""
    # In a process of its own: what hundreds of other tests have left in this one is not a run's.
    script = (
        "import gc\n"
        "from resmon_assets.raw.assets import keep_out_of_garbage_collection\n"
        "keep_out_of_garbage_collection()\n"
        "print(gc.get_freeze_count())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 10_000
