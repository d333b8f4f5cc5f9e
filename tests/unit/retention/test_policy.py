"""Which retention policies would lose data."""

from datetime import timedelta

import pytest

from resmon_resources.retention_policy import days_text, policy_problems

GOOD = {
    "raw.server_resource_metrics": timedelta(days=7),
    "raw.filesystem_usage": timedelta(days=30),
    "tier.metrics_1min": timedelta(days=30),
    "tier.metrics_5min": timedelta(days=90),
    "tier.metrics_1hour": timedelta(days=365),
    "tier.metrics_1day": None,
    "tier.filesystem_1day": None,
    "rollup.organization_metrics_5min": timedelta(days=90),
    "rollup.organization_metrics_1hour": timedelta(days=365),
    "rollup.organization_metrics_1day": None,
    "rollup.organization_resource_usage": timedelta(days=365),
}


def test_policy_that_grows_with_each_tier_has_no_problem():
    """Lets back: a rule that refuses what is shipped."""
    assert policy_problems(GOOD) == []


@pytest.mark.parametrize(
    ("table", "keep", "told"),
    [
        ("tier.metrics_1min", timedelta(days=91), "tier.metrics_5min (90 days) would be gone"),
        ("tier.metrics_5min", timedelta(days=29), "before tier.metrics_1min (30 days)"),
        ("tier.metrics_1hour", None, "tier.metrics_1day"),
        ("tier.metrics_1day", timedelta(days=364), "before tier.metrics_1hour (365 days)"),
        ("tier.filesystem_1day", timedelta(days=29), "before raw.filesystem_usage (30 days)"),
        ("rollup.organization_metrics_1hour", timedelta(days=89), "organization_metrics_5min"),
        ("rollup.organization_resource_usage", timedelta(days=6), "organization_resource_usage"),
        ("raw.server_resource_metrics", timedelta(days=31), "tier.metrics_1min (30 days)"),
        ("raw.server_resource_metrics", timedelta(days=1), "raw must stay 2 days at least"),
        ("raw.filesystem_usage", timedelta(days=1), "raw must stay 2 days at least"),
        ("tier.metrics_1hour", timedelta(0), "kept 0 days; it must be whole days, at least 1"),
        ("tier.metrics_1hour", timedelta(days=-3), "kept -3 days"),
        ("tier.metrics_1hour", timedelta(days=400, hours=12), "kept 400.5 days"),
    ],
)
def test_policy_that_would_lose_data_is_refused_by_name_and_figures(table, keep, told):
    """Lets back: a coarser tier that is gone first, raw that goes before anything is computed."""
    policy = GOOD | {table: keep}
    if table == "tier.metrics_1hour" and keep is None:
        policy["tier.metrics_1day"] = timedelta(days=10_000)
    assert told in " ".join(policy_problems(policy))


def test_tables_that_the_policy_does_not_name_are_not_judged():
    """Lets back: a platform without roll-ups that cannot set anything."""
    assert policy_problems({"raw.server_resource_metrics": timedelta(days=7)}) == []


def test_chain_is_judged_across_a_table_that_is_missing_from_it():
    """Lets back: 1hour shorter than 1min accepted because 5min has no policy."""
    policy = {k: v for k, v in GOOD.items() if k != "tier.metrics_5min"}
    policy["tier.metrics_1hour"] = timedelta(days=20)
    assert "before tier.metrics_1min (30 days)" in " ".join(policy_problems(policy))


def test_days_are_told_in_words():
    """Lets back: `1 days`, and None printed to a person."""
    assert [days_text(timedelta(days=n)) for n in (1, 7)] == ["1 day", "7 days"]
    assert days_text(None) == "for ever"
