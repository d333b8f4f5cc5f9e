"""The daily tier of file systems on a real database: computed, judged, late rows, retention."""

from datetime import UTC, datetime, timedelta

import pytest
from dagster import DagsterInstance, materialize

from resmon_assets.retention.prune import prune
from resmon_assets.tier.filesystem import FILE_SYSTEM_DAY, refresh_file_systems
from resmon_assets.tier.filesystem_assets import (
    FILE_SYSTEM_CHECKS,
    RISING,
    TOGETHER,
    tier_filesystem_1day,
)
from resmon_assets.window_checks import KEEPS_ORDER, judge_stored
from resmon_resources.clock import ClockResource
from resmon_resources.errors import RawGone
from resmon_resources.retention_store import Downstream, Rules, blockers_of, partitions_of
from resmon_resources.sample_store import (
    FileSystemUsage,
    Sample,
    ensure_raw_partitions,
)
from resmon_resources.window_ledger import current_revisions, window_states
from tests import one_database

pytestmark = pytest.mark.integration

DAY = datetime(2026, 3, 1, tzinfo=UTC)
NEXT = DAY + timedelta(days=1)
NOW = NEXT + timedelta(minutes=10)
RAW = "raw.filesystem_usage"
TABLE = FILE_SYSTEM_DAY.table


@pytest.fixture
def server(fleet):
    return fleet.server("web-1", fleet.organization("acme"))


def usage(server, minutes=0, **values):
    """A row of `/`, minutes after midnight."""
    base = {"type": "ext4", "total_bytes": 1_000, "used_bytes": 100, "available_bytes": 800}
    return FileSystemUsage(
        server, 1, DAY + timedelta(minutes=minutes), "/", "/dev/sda1", **{**base, **values}
    )


def commit(fleet, *rows, samples=()):
    with fleet.postgres.connect(autocommit=True) as connection:
        ensure_raw_partitions(connection, start=DAY, end=DAY)
        return one_database.commit(connection, samples, file_systems=rows)


def refresh(fleet, *, now=NOW):
    return refresh_file_systems(fleet.postgres, start=DAY, now=now)


def revisions(fleet):
    with fleet.postgres.connect() as connection:
        return current_revisions(connection, DAY, NEXT)


def run(fleet):
    """Materialize the day with its checks."""
    with DagsterInstance.ephemeral() as instance:
        return materialize(
            [tier_filesystem_1day, FILE_SYSTEM_CHECKS],
            partition_key="2026-03-01",
            resources={
                "postgres": fleet.postgres,
                "clock": ClockResource(fixed_at=NOW.isoformat()),
            },
            instance=instance,
            raise_on_error=False,
        )


def test_day_equals_what_postgresql_computes(fleet, server):
    """Lets back: statistics that only agree with themselves."""
    sizes = [10**15 + 7919 * k * k % 10_007 for k in range(40)]
    commit(
        fleet,
        *(
            usage(
                server, 5 * k, used_bytes=size, total_bytes=2 * 10**15, available_bytes=10**12 - k
            )
            for k, size in enumerate(sizes)
        ),
        usage(server, 1439, used_bytes=None, total_bytes=None, available_bytes=None),
    )
    result = run(fleet)
    assert result.success
    assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())
    assert len(result.get_asset_check_evaluations()) == 5
    query = """
        select count(*)::integer, count(used_bytes)::integer, avg(used_bytes)::float8,
            min(used_bytes), max(used_bytes), min(available_bytes),
            (array_agg(used_bytes order by collected_at desc) filter (where used_bytes > 0))[1]
        from raw.filesystem_usage
    """
    columns = (
        "sample_count, measured_count, used_bytes_avg, used_bytes_min, used_bytes_max, "
        "available_bytes_min, used_bytes_last"
    )
    assert fleet.execute(f"select {columns} from tier.filesystem_1day") == fleet.execute(query)
    assert fleet.execute("select server_name, used_pct_last from resmon.filesystem_usage_1day") == [
        ("web-1", pytest.approx(100 * sizes[-1] / (sizes[-1] + 10**12 - 39)))
    ]


def test_second_computation_changes_nothing(fleet, server):
    """Lets back: a day written anew every night."""
    commit(fleet, usage(server))
    refresh(fleet)
    stored = refresh(fleet).stored
    assert stored is not None
    assert (stored.new, stored.changed, stored.deleted, stored.stored_rows) == (0, 0, 0, 1)


def test_day_that_is_not_over_is_left_alone(fleet, server):
    """Lets back: half a day stored as a whole one."""
    commit(fleet, usage(server))
    assert refresh(fleet, now=NEXT - timedelta(seconds=1)).stored is None
    assert fleet.execute("select count(*) from tier.filesystem_1day") == [(0,)]


def test_late_file_systems_without_a_sample_make_the_day_stale(fleet, server):
    """Lets back: rows of file systems that no window ever hears of."""
    commit(fleet, usage(server), samples=[Sample(server, 1, DAY)])
    assert revisions(fleet) == {DAY: 1}, "one commit counts once"
    refresh(fleet)
    commit(fleet, usage(server, 65, used_bytes=500))
    assert revisions(fleet) == {DAY: 1, DAY + timedelta(hours=1): 1}
    commit(fleet, usage(server, 65, used_bytes=500))
    assert revisions(fleet)[DAY + timedelta(hours=1)] == 1, "nothing new, nothing counted"
    commit(fleet, usage(server, 5), samples=[Sample(server, 1, DAY)])
    assert revisions(fleet)[DAY] == 2, "the sample was there, its file systems were not"
    refresh(fleet)
    assert fleet.execute("select sample_count, used_bytes_max from tier.filesystem_1day") == [
        (3, 500)
    ]


def test_red_row_is_found_and_marked(fleet, server):
    """Lets back: a check that cannot fail."""
    commit(fleet, usage(server))
    refresh(fleet)
    fleet.execute("update tier.filesystem_1day set used_bytes_max = 1")
    judgements = judge_stored(
        fleet.postgres, FILE_SYSTEM_DAY, windows=[DAY], rising=RISING, together=TOGETHER
    )
    assert [j.rule for j in judgements if j.red] == [KEEPS_ORDER]
    with fleet.postgres.connect() as connection:
        assert window_states(connection, TABLE.name, start=DAY, end=NEXT)[DAY].is_red


def test_raw_waits_for_the_day_and_the_day_outlives_raw(fleet, server):
    """Lets back: file systems dropped before their day was computed, or a day replaced by none."""
    commit(fleet, usage(server))
    later = DAY + timedelta(days=40)
    rules = Rules(
        as_of=later, now=later, downstream=(Downstream(TABLE.name, RAW, timedelta(days=1)),)
    )
    with fleet.postgres.connect() as connection:
        (partition,) = partitions_of(connection, RAW)
        assert [b.reason for b in blockers_of(connection, partition, rules)] == ["not_computed"]
    refresh(fleet)
    assert RAW in [verdict.partition.table for verdict in prune(fleet.postgres, rules).dropped]
    with pytest.raises(RawGone, match="retention has dropped that day"):
        refresh(fleet, now=later)
    assert fleet.execute("select sample_count from tier.filesystem_1day") == [(1,)]
