"""`resmon status`: what is shown of collected, failing and idle servers."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from resmon_resources.postgres import PostgresResource
from resmon_resources.sample_store import Sample
from resmon_resources.spool import RefusedRows, Spool
from resmon_resources.spool_records import Batch
from tests.integration.cli.builders import add_server, store_failure, store_samples
from tests.integration.cli.conftest import Resmon

pytestmark = pytest.mark.integration


def shown(resmon: Resmon, *arguments: str) -> dict[str, dict[str, object]]:
    statuses = json.loads(resmon("status", "--format", "json", *arguments).output)
    return {str(status["server_name"]): status for status in statuses}


def row_of(output: str, server: str) -> list[str]:
    return next(line.split() for line in output.splitlines() if line.startswith(f"{server} "))


def test_every_server_is_shown_whether_collected_or_not(
    resmon: Resmon, postgres: PostgresResource
) -> None:
    """Would let back: a server missing from the list because nothing of it is stored."""
    store_samples(postgres, add_server(postgres, "web-1"), count=1)
    store_failure(postgres, add_server(postgres, "db-1"), "timeout", "Took too long. Look at it.")
    add_server(postgres, "new-1")
    add_server(postgres, "old-1")
    resmon("server", "pause", "old-1")
    statuses = shown(resmon)
    assert {name: status["shown_status"] for name, status in statuses.items()} == {
        "web-1": "healthy",
        "db-1": "error",
        "new-1": "waiting",
        "old-1": "paused",
    }
    assert statuses["web-1"]["cpu_pct"] == 42.0
    assert 0 < float(str(statuses["web-1"]["age_seconds"])) < 600
    assert statuses["new-1"]["age_seconds"] is None
    assert statuses["db-1"]["cause_detail"] == "Took too long. Look at it."
    outcome = resmon("status")
    assert outcome.exit_code == 0
    assert "db-1: timeout. Took too long. Look at it." in outcome.output
    assert "4 servers: 1 error, 1 waiting, 1 healthy, 1 paused" in outcome.output


def test_the_cause_is_shown_while_a_new_server_is_still_tried(
    resmon: Resmon, postgres: PostgresResource
) -> None:
    """Would let back: minutes of retries in which nobody learns what is wrong with a new server."""
    new = add_server(postgres, "new-1")
    store_failure(postgres, new, "timeout", "No answer. Look at it.", is_final=False)
    outcome = resmon("status")
    assert "waiting" in row_of(outcome.output, "new-1")
    assert "new-1: timeout. No answer. Look at it." in outcome.output
    assert "resmon up" not in outcome.told, "somebody is trying"


@pytest.mark.parametrize("columns", [80, 120])
def test_table_fits_the_terminal(resmon: Resmon, postgres: PostgresResource, columns: int) -> None:
    """Would let back: rows folded in the middle of a number."""
    store_samples(postgres, add_server(postgres, "web-1.example.org"), count=1)
    outcome = resmon("status", columns=columns)
    assert all(len(line) <= columns for line in outcome.output.splitlines())
    cells = row_of(outcome.output, "web-1.example.org")
    assert "healthy" in cells
    assert cells[cells.index("42") : cells.index("42") + 2] == ["42", "%"]
    assert ("KiB/s" in outcome.output) is (columns == 120)


def test_old_state_is_not_passed_off_as_the_present(
    resmon: Resmon, postgres: PostgresResource
) -> None:
    """Would let back: a healthy fleet on the screen while collection has been down for hours."""
    long_ago = datetime.now(UTC) - timedelta(hours=3)
    store_samples(postgres, add_server(postgres, "web-1"), count=1, last_at=long_ago)
    add_server(postgres, "new-1")
    outcome = resmon("status")
    assert row_of(outcome.output, "web-1")[-2:] == ["3.0", "h"]
    assert "stale" in row_of(outcome.output, "web-1")
    assert "resmon up" in outcome.told


def test_failing_server_keeps_its_last_values_with_their_age(
    resmon: Resmon, postgres: PostgresResource
) -> None:
    """Would let back: values that vanish at the moment they are needed."""
    web = add_server(postgres, "web-1")
    store_samples(
        postgres,
        web,
        count=1,
        last_at=datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=9),
    )
    store_failure(postgres, web, "unreachable", "No route.")
    status = shown(resmon)["web-1"]
    assert status["shown_status"] == "error"
    assert status["memory_used_bytes"] == 8 * 2**30
    assert float(str(status["age_seconds"])) > 500


def test_choice_by_organization_and_tag(resmon: Resmon, postgres: PostgresResource) -> None:
    """Would let back: a filter that is ignored."""
    resmon("org", "add", "acme")
    add_server(postgres, "web-1", organization="acme", tags=["web"])
    add_server(postgres, "db-1", tags=["db"])
    assert set(shown(resmon, "--organization", "acme")) == {"web-1"}
    assert set(shown(resmon, "--tag", "db")) == {"db-1"}
    assert "No server matches" in resmon("status", "--tag", "none").told
    unknown = resmon("status", "--organization", "amce")
    assert unknown.exit_code == 1
    assert "Did you mean acme?" in unknown.told


def test_choice_by_name_and_state(resmon: Resmon, postgres: PostgresResource) -> None:
    """Would let back: ten thousand rows to find the three that fail."""
    store_samples(postgres, add_server(postgres, "web-1"), count=1)
    store_failure(postgres, add_server(postgres, "db-1"), "timeout", "Took too long.")
    add_server(postgres, "new-1")
    assert set(shown(resmon, "web-1", "new-1")) == {"web-1", "new-1"}
    assert set(shown(resmon, "--state", "error", "--state", "waiting")) == {"db-1", "new-1"}
    assert "No server matches" in resmon("status", "--state", "critical").told
    unknown = resmon("status", "web-2")
    assert unknown.exit_code == 1
    assert "Did you mean web-1?" in unknown.told


def test_many_servers_of_one_cause_are_told_together(
    resmon: Resmon, postgres: PostgresResource
) -> None:
    """Would let back: five hundred lines of the same advice, and the other causes lost in them."""
    for number in range(12):
        server = add_server(postgres, f"db-{number:02}")
        store_failure(postgres, server, "timeout", f"db-{number:02} took too long. Look at it.")
    store_failure(postgres, add_server(postgres, "web-1"), "refused", "No sshd there.")
    output = " ".join(resmon("status").output.split())
    assert "db-00: timeout. db-00 took too long. Look at it." in output
    assert "11 others with the cause timeout: db-01, db-02" in output
    assert "db-08 and 3 more." in output
    assert "db-01 took too long" not in output
    assert "web-1: refused. No sshd there." in output
    one = " ".join(resmon("status", "db-07").output.split())
    assert "db-07: timeout. db-07 took too long. Look at it." in one


def test_names_that_look_like_markup_stay_as_they_are(
    resmon: Resmon, postgres: PostgresResource
) -> None:
    """Would let back: text of a host that changes colours or vanishes in the terminal."""
    store_failure(postgres, add_server(postgres, "db-1"), "unreadable", "begins with: [red]x[/red]")
    assert "begins with: [red]x[/red]" in resmon("status").output


def test_what_waits_in_the_spool_is_told_with_and_without_a_database(
    resmon: Resmon, postgres: PostgresResource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Would let back: an outage of which nobody can see whether samples are safe, or were lost."""
    monkeypatch.setenv("RESMON_HOME", str(tmp_path))
    web = add_server(postgres, "web-1")
    store_samples(postgres, web, count=1)
    assert resmon("status").told == ""
    at = datetime(2026, 3, 1, 10, 0, 5, tzinfo=UTC)
    root = tmp_path / "spool"
    spool = Spool(root)
    spool.open()
    spool.append(Batch([Sample(web.server_id, 1, at), Sample(web.server_id, 1, at)]))
    RefusedRows(root).keep([(Sample(web.server_id, 1, at), ValueError("too large"))], now=at)
    (root / "losses.jsonl").write_text(
        f'{{"at": "{datetime.now(UTC).isoformat()}", "cause": "it was full", "samples": 7}}\n'
        '{"at": "2026-01-01T00:00:00+00:00", "cause": "long ago", "samples": 9}\n'
    )
    told = resmon("status").told
    assert "2 samples (" in told
    assert "the oldest of 2026-03-01 10:00:05 UTC" in told
    assert "7 samples were lost" in told
    assert "it was full" in told
    assert "1 rows were refused" in told
    assert str(root / "refused.jsonl") in told
    monkeypatch.setenv("RESMON_POSTGRES_DSN", "postgresql://resmon@127.0.0.1:1/resmon")
    away = resmon("status")
    assert away.exit_code == 1
    assert "2 samples (" in away.told
    spool.close()
