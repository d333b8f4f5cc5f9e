"""The picture of closed hours and days, as Dagster shows it."""

from datetime import timedelta

import pytest

from resmon_assets.naming import TIER_1DAY, TIER_1HOUR, TIER_5MIN
from tests.integration.tier.fleet import HOUR, LATER, Fleet

pytestmark = pytest.mark.integration

ONE_HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def metadata_of(run):
    """Metadata of each partition that the run materialized."""
    events = run.result.asset_materializations_for_node("__".join(run.key.path))
    return [event.metadata for event in events]


def test_closed_hours_and_days_show_their_picture_and_five_minute_runs_none(fleet: Fleet) -> None:
    """Would let back: 11 KB of picture in each of 288 runs a day, or in each hour of a backfill."""
    organization = fleet.organization("alpha")
    server = fleet.server("web1", organization)
    fleet.sample(server, organization, HOUR, HOUR + 2 * ONE_HOUR)

    [hour] = metadata_of(fleet.refresh(TIER_1HOUR, HOUR))
    many = metadata_of(fleet.refresh(TIER_1HOUR, HOUR, last=HOUR + ONE_HOUR))
    [fine] = metadata_of(fleet.refresh(TIER_5MIN, HOUR))
    midnight = HOUR.replace(hour=0)
    [day] = metadata_of(fleet.refresh(TIER_1DAY, midnight, now=midnight + DAY))

    for metadata in (hour, day):
        text = metadata["picture"].value
        assert text.startswith("![Spread of CPU over the servers](data:image/png;base64,iVBOR")
        assert len(text) < 11 * 1024
    assert not [metadata for metadata in (*many, fine) if "picture" in metadata]


def test_an_hour_without_a_sample_has_no_picture(fleet: Fleet) -> None:
    """Would let back: an outage whose hour fails because there is nothing to draw."""
    organization = fleet.organization("alpha")
    fleet.server("web1", organization)

    run = fleet.refresh(TIER_1HOUR, HOUR, now=LATER)

    assert run.success
    assert "picture" not in metadata_of(run)[0]
