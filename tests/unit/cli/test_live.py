"""The live table and its lines, on hand-made rows."""

from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from resmon_cli.live import (
    MAXIMUM_LINES,
    ChangeLines,
    Fleet,
    ServerRow,
    describe_server,
    server_table,
    summary,
)

NOW = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)


def row(server_id: int = 1, **changes: object) -> ServerRow:
    """A healthy server."""
    values: dict[str, object] = {
        "server_id": server_id,
        "name": f"web-{server_id}",
        "organization": "default",
        "status": "healthy",
        "cause": None,
        "last_metrics_at": NOW - timedelta(seconds=7),
        "cpu_pct": 0.0,
        "memory_used_bytes": 1,
        "memory_total_bytes": 4,
        "disk_used_bytes": None,
        "disk_total_bytes": 8,
        "network_in_bytes_per_second": 1536.0,
        "network_out_bytes_per_second": None,
        "load_1m": 0.25,
        **changes,
    }
    return ServerRow(**values)  # type: ignore[arg-type]


def fleet_of(**counts: int) -> Fleet:
    return Fleet(counts=counts, last_metrics_at=NOW - timedelta(seconds=7))


def shown(*rows: ServerRow, fleet: Fleet, width: int = 140) -> str:
    console = Console(width=width, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(server_table(rows, fleet, now=NOW, notes=("a note",)))
    return capture.get()


def test_the_table_shows_zero_as_zero_and_unknown_as_a_dash() -> None:
    """Would let back: an idle CPU shown as not measured, or a missing disk shown as empty."""
    line = next(x for x in shown(row(), fleet=fleet_of(healthy=1)).splitlines() if "web-1" in x)
    assert line.split() == [
        *("web-1", "default", "healthy", "7", "s", "0.0", "25.0", "-", "1.5", "KiB/s", "-", "0.25"),
    ]


@pytest.mark.parametrize(
    ("width", "gone"),
    [
        (120, set()),
        (100, {"organization"}),
        (80, {"organization", "load", "net out", "net in"}),
        (60, {"organization", "load", "net out", "net in", "disk %", "memory %"}),
    ],
)
def test_a_narrow_terminal_keeps_state_and_cause(width: int, gone: set[str]) -> None:
    """Would let back: at 80 columns a table whose column of states had no width."""
    shown_row = row(
        name="database-primary-1", status="error", cause="host_key_changed", cpu_pct=100.0
    )
    head, line, *_ = shown(shown_row, fleet=fleet_of(error=1), width=width).splitlines()
    assert {x for x in ("server", "status", "age", "CPU %", "cause") if x not in head} == set()
    spared = ("organization", "load", "net out", "net in", "disk %", "memory %")
    assert {x for x in spared if x not in head} == gone
    assert "database-primary-1" in line
    assert " error " in line
    assert line.rstrip().endswith("host_key_changed")


def test_the_table_of_a_large_fleet_stays_small() -> None:
    """Would let back: ten thousand rows on a terminal of forty lines, every two seconds."""
    text = shown(row(), fleet=fleet_of(healthy=9_990, error=10))
    assert (
        "10000 servers: 10 error, 9990 healthy; newest sample 7 s old (9999 more not shown)" in text
    )
    assert "a note" in text


def test_names_are_not_markup() -> None:
    """Would let back: a server named [red] that vanishes from the table."""
    assert "[red]" in shown(row(name="[red]x"), fleet=fleet_of(healthy=1))


def test_summary_of_nothing_and_of_no_sample() -> None:
    """Would let back: `0 servers: ;` as the first words to a newcomer."""
    assert summary(fleet_of(), now=NOW) == "No server is under collection."
    waiting = Fleet(counts={"waiting": 1}, last_metrics_at=None)
    assert summary(waiting, now=NOW) == "1 server: 1 waiting; no sample yet"


def test_lines_only_for_what_changed() -> None:
    """Would let back: a log that repeats every server every five seconds."""
    lines = ChangeLines()
    fleet = fleet_of(healthy=1)
    first = lines.round([row()], fleet, now=NOW)
    assert first[0].startswith("web-1 (default): healthy, CPU 0.0 %, memory 25.0 %, disk - %")
    assert len(first) == 2
    assert lines.round([row(cpu_pct=50.0)], fleet, now=NOW + timedelta(seconds=5)) == []
    down = row(status="error", cause="timeout")
    later = NOW + timedelta(seconds=10)
    assert lines.round([down], fleet, now=later)[0] == "web-1 (default): error, timeout"
    assert lines.round([row(status="error", cause="refused")], fleet, now=later)


def test_a_heartbeat_when_nothing_changes() -> None:
    """Would let back: silence that looks like a hang."""
    lines = ChangeLines()
    waiting = [row(status="waiting")]
    assert len(lines.round(waiting, fleet_of(waiting=1), now=NOW)) == 1
    assert lines.round(waiting, fleet_of(waiting=1), now=NOW + timedelta(seconds=29)) == []
    assert len(lines.round(waiting, fleet_of(waiting=1), now=NOW + timedelta(seconds=30))) == 1


def test_many_changes_are_counted() -> None:
    """Would let back: ten thousand lines when a network goes away."""
    rows = [row(number) for number in range(10_000)]
    lines = ChangeLines().round(rows, fleet_of(healthy=10_000), now=NOW)
    assert len(lines) == MAXIMUM_LINES + 2
    assert lines[-2] == f"… and {10_000 - MAXIMUM_LINES} more servers changed"


def test_an_error_without_a_cause_is_still_said() -> None:
    """Would let back: `None` as a cause."""
    text = describe_server(row(status="error"), now=NOW)
    assert text == "web-1 (default): error, unknown cause"
