"""The day that the benchmark of Dagster's event log reckons with."""

import pytest

from benchmarks.event_log import runs_per_day, times_a_day
from resmon_assets.definitions import build_defs


@pytest.mark.parametrize(
    ("cron", "times"),
    [
        ("1-59/5 * * * *", 12 * 24),
        ("*/15 * * * *", 4 * 24),
        ("2 * * * *", 24),
        ("10 0 * * *", 1),
        ("0,30 6-8 * * *", 6),
    ],
)
def test_a_cron_line_fires_as_often_as_it_says(cron, times):
    """Would let back: a day of 12 runs where there are 288."""
    assert times_a_day(cron) == times


def test_every_scheduled_job_is_part_of_the_day():
    """Would let back: a job that comes later and that the budget does not know."""
    counts = runs_per_day(build_defs())
    assert counts["refresh_metrics_job"] == 288
    assert counts["metrics_1hour_job"] == 24
    assert counts["dagster_history_job"] == 1, "it skips while nothing is too old"
    assert counts["alerts_job"] == 50
    schedules = build_defs().get_repository_def().schedule_defs
    assert counts.keys() == {one.job_name for one in schedules} | {"alerts_job"}
