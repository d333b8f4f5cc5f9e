"""The retention policy as stored: defaults, setting it, and what the database itself refuses."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from resmon_resources.errors import ConfigurationInvalid
from resmon_resources.retention_policy import policy_problems, read_policy, set_policy

pytestmark = pytest.mark.integration

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)


def test_shipped_policy_is_stored_and_has_no_problem(postgres_connection):
    """Lets back: defaults that the rules refuse, so that nothing could ever be set."""
    policy = read_policy(postgres_connection)
    assert policy["raw.server_resource_metrics"] == timedelta(days=7)
    assert policy["tier.metrics_1hour"] == timedelta(days=365)
    assert policy["tier.metrics_1day"] is None
    assert policy_problems(policy) == []


def test_set_policy_is_stored_with_its_time(postgres_connection):
    """Lets back: a setting that is judged and then forgotten."""
    set_policy(postgres_connection, "tier.metrics_1min", timedelta(days=14), now=NOW)
    set_policy(postgres_connection, "tier.metrics_1hour", timedelta(days=730), now=NOW)
    policy = read_policy(postgres_connection)
    assert policy["tier.metrics_1min"] == timedelta(days=14)
    changed = postgres_connection.execute(
        "select changed_at from ops.retention_policy where table_name = 'tier.metrics_1hour'"
    ).fetchone()
    assert changed == (NOW,)


@pytest.mark.parametrize(
    ("table", "keep", "told"),
    [
        ("tier.metrics_1min", timedelta(days=91), "tier.metrics_5min"),
        ("raw.server_resource_metrics", timedelta(days=1), "2 days at least"),
        ("tier.metrics_2min", timedelta(days=10), "has no such table"),
    ],
)
def test_set_policy_that_is_refused_changes_nothing(postgres_connection, table, keep, told):
    """Lets back: a refusal that has already written."""
    before = read_policy(postgres_connection)
    with pytest.raises(ConfigurationInvalid, match=told):
        set_policy(postgres_connection, table, keep, now=NOW)
    assert read_policy(postgres_connection) == before


@pytest.mark.parametrize(("table", "days"), [("tier.metrics_1min", 0), ("raw.filesystem_usage", 1)])
def test_database_refuses_what_would_drop_at_once(postgres_connection, table, days):
    """Lets back: a policy written past the command that empties raw in the next night."""
    with pytest.raises(psycopg.errors.CheckViolation):
        postgres_connection.execute(
            "update ops.retention_policy set keep_days = %s where table_name = %s", [days, table]
        )
