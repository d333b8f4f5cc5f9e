"""Disks that will be full soon as alerts: judged by the newest day only."""

from datetime import timedelta

import pytest

from resmon_assets.forecast.refresh import refresh_forecasts
from tests.integration.forecast.world import DAY, GIB, NOW, ONE

pytestmark = pytest.mark.integration


def growing(level, slope, days=30):
    """Bytes that end at `level`, in GiB, of 100."""
    return [(level - slope * (days - 1 - k) + 0.02 * (k % 3)) * GIB for k in range(days)]


def alerts(world):
    with world.postgres.connect() as connection:
        return connection.execute(
            "select subject, severity, state, value, reason from alert.alerts"
        ).fetchall()


def test_a_disk_that_will_be_full_soon_is_an_alert_with_its_band(world):
    """Lets back: a full disk that was forecast and told to nobody, or an alert for every disk that
    grows at all.
    """
    server = world.server("web-1", world.organization("acme"))
    world.file_system(server, "/data", growing(90.0, 1.0))
    world.file_system(server, "/slow", growing(60.0, 0.5))
    world.finish()
    refresh_forecasts(world.postgres, start=DAY, now=NOW)
    (row,) = alerts(world)
    assert row[:3] == (f"server:{server} /data", "warning", "open")
    assert 8 <= row[3] <= 10
    assert row[4].startswith("web-1 /data will be full in ")
    assert "(80 % sure: 2026-03-" in row[4]


def test_the_forecast_of_a_day_long_gone_opens_nothing(world):
    """Lets back: a backfill of forecasts that wakes people about disks of last month."""
    server = world.server("web-1", world.organization("acme"))
    world.file_system(server, "/data", growing(90.0, 1.0))
    world.finish()
    refresh_forecasts(world.postgres, start=DAY, now=NOW + timedelta(days=9))
    assert alerts(world) == []
    refresh_forecasts(world.postgres, start=DAY, now=NOW + ONE / 24)
    assert len(alerts(world)) == 1
