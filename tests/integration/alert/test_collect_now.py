"""`resmon collect` and the rules: what a person collects by hand is judged as well."""

import psycopg
import pytest

from resmon_assets.raw.collect_now import Collected, store_outcomes
from resmon_resources.postgres import PostgresResource
from tests.integration.alert.watched import GIB, a_failure, a_mount, a_sample, at, make_site

pytestmark = pytest.mark.integration


def test_what_is_collected_by_hand_is_judged(
    postgres: PostgresResource, postgres_connection: psycopg.Connection
) -> None:
    """Would let back: a sample that is stored past the rules, so that the alert that it would have
    opened never opens, as its instant is taken."""
    site = make_site(postgres_connection)
    full, other_key = site.add("full"), site.add("other-key")
    stored = store_outcomes(
        postgres,
        [
            Collected(a_sample(full, 30), [a_mount(full, 30, "/", 99 * GIB)]),
            Collected(a_failure(other_key, 30, "host_key_changed")),
        ],
        servers=[full, other_key],
        now=at(40),
    )
    assert stored == 1
    assert sorted(site.events()) == [
        ("full /", "file_system_high opened", 30.0),
        ("other-key", "host_key_changed opened", 30.0),
    ]
