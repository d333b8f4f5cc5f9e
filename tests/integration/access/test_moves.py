"""Servers and organizations that move: who sees what before and after."""

from datetime import timedelta

import pytest

from resmon_resources.inventory import move_organization, update_server
from tests.integration.access.conftest import PLATFORM, grant
from tests.integration.access.tenants import (
    ACME,
    ACME_EU,
    DAY,
    GLOBEX,
    NOON,
    add_rows,
    server_ids,
)

pytestmark = pytest.mark.integration

MOVED, _ = server_ids(ACME_EU)
MOVED_AT = DAY + timedelta(hours=18)


@pytest.fixture
def platform(password_server, database):
    """The platform's connection to rows of all, with acme and globex granted to a reader each."""
    with password_server.connect(database, PLATFORM) as connection:
        add_rows(connection)
        grant(connection, "acme_reader", ACME)
        grant(connection, "globex_reader", GLOBEX)
        yield connection


@pytest.fixture
def seen_by(password_server, database, platform):
    """What a reader finds of the server that moves: a question of each kind."""
    questions = {
        "name": "select server_name from resmon.servers where server_id = %(id)s",
        "state": "select status from resmon.server_status where server_id = %(id)s",
        "history": "select bucket_start, organization_id, server_name "
        "from resmon.metric_aggregations where server_id = %(id)s and granularity = '1hour'",
        "samples": "select collected_at from resmon.server_resource_metrics "
        "where server_id = %(id)s",
        "coverage": "select ended_at from resmon.collection_coverage where server_id = %(id)s",
        "alerts": "select organization_id from resmon.alerts where server_id = %(id)s",
    }

    def ask(role):
        with password_server.connect(database, role) as connection:
            return {
                name: connection.execute(question, {"id": MOVED}).fetchall()
                for name, question in questions.items()
            }

    return ask


NOTHING: dict[str, list] = {
    "name": [],
    "state": [],
    "history": [],
    "samples": [],
    "coverage": [],
    "alerts": [],
}


def test_a_server_that_moves_leaves_its_history_and_takes_its_state_along(platform, seen_by):
    """Would let back: a new owner that reads what was measured for the former one, or a former one
    that goes on reading.
    """
    whole = {
        "name": [("acme-eu-web0",)],
        "state": [("healthy",)],
        "history": [(DAY, ACME_EU, "acme-eu-web0")],
        "samples": [(DAY,)],
        "coverage": [(NOON,)],
        "alerts": [(ACME_EU,)],
    }
    assert (seen_by("acme_reader"), seen_by("globex_reader")) == (whole, NOTHING)
    update_server(platform, "acme-eu-web0", organization="globex", now=MOVED_AT)
    platform.execute(
        "insert into tier.metrics_1hour "
        "(bucket_start, server_id, organization_id, sample_count, expected_count) "
        "values (%s, %s, %s, 1, 1)",
        [MOVED_AT, MOVED, GLOBEX],
    )
    platform.execute(
        "insert into raw.collection_coverage "
        "(server_id, started_at, ended_at, cause, instant_count) values (%s, %s, %s, 'ok', 1)",
        [MOVED, MOVED_AT, MOVED_AT],
    )
    assert seen_by("acme_reader") == {
        **whole,
        "name": [],
        "state": [],
        "history": [(DAY, ACME_EU, None)],
    }
    assert seen_by("globex_reader") == {
        "name": [("acme-eu-web0",)],
        "state": [("healthy",)],
        "history": [(MOVED_AT, GLOBEX, "acme-eu-web0")],
        "samples": [],
        "coverage": [(MOVED_AT,)],
        "alerts": [],
    }


def test_an_organization_that_moves_takes_its_history_along(platform, seen_by):
    """Would let back: a customer that reads what it sold, or does not read what it bought."""
    before = seen_by("acme_reader")
    assert before["history"]
    move_organization(platform, "acme-eu", parent="globex", now=MOVED_AT)
    assert seen_by("acme_reader") == NOTHING
    assert seen_by("globex_reader") == before
    move_organization(platform, "acme-eu", parent=None, now=MOVED_AT + timedelta(hours=1))
    assert (seen_by("acme_reader"), seen_by("globex_reader")) == (NOTHING, NOTHING)
    move_organization(platform, "acme-eu", parent="acme", now=MOVED_AT + timedelta(hours=2))
    assert (seen_by("acme_reader"), seen_by("globex_reader")) == (before, NOTHING)


def test_a_removed_server_and_organization_are_not_left_open(platform, seen_by):
    """Would let back: a removed server whose row belongs to nobody, and so to everybody."""
    platform.execute(
        "update inventory.servers set state = 'deleted', changed_at = %s where server_id = %s",
        [MOVED_AT, MOVED],
    )
    assert seen_by("globex_reader") == NOTHING
    assert seen_by("acme_reader")["history"] == [(DAY, ACME_EU, "acme-eu-web0")]
