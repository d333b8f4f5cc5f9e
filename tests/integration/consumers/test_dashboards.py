"""Dashboards are well formed, and every query of them gives rows, columns and few partitions."""

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import get_args

import psycopg
import pytest
import yaml  # type: ignore[import-untyped]

from resmon_assets.raw.coverage import COLLECTOR_DOWN
from resmon_resources.errors import Cause
from tests.integration.consumers.grafana import (
    FOLDER,
    Query,
    boards,
    interpolated,
    panels_of,
    queries_of,
)
from tests.integration.consumers.house import House

pytestmark = pytest.mark.integration

BOARDS = {board["uid"]: board for board in boards()}
QUERIES = [query for board in BOARDS.values() for query in queries_of(board)]
UIDS = {
    *("resmon-fleet", "resmon-server", "resmon-organization", "resmon-capacity", "resmon-itself"),
}
NAMED = [pytest.param(one, id=f"{one.board}: {one.title}") for one in QUERIES]

VALUES = {
    "organization": "1",
    "server": ["2", "3"],
    "scope": "subtree",
    "series": "disk_used_bytes",
}
ONE_SERVER = VALUES | {"server": "3"}
"""The capacity board shows one server at a time."""

SLACK = timedelta(days=8)
"""How far before its range a query may look: episodes that began before it, the newest forecast."""

READ_WHOLE = {
    # Few rows: a drift has one for each day that it lasts.
    "anomaly.degradation_reports",
}
LOOK_BACK = {
    # Since when a limit is exceeded may be long ago; one row by the key for each hour.
    ("Quotas now", "rollup.organization_resource_usage"),
}

EVENTS = """
insert into alert.alert_events (at, alert_id, kind, severity, actor, message)
select %(now)s - interval '1 hour', min(alert_id), kind, 'warning', 'delivery', 'It was told.'
from alert.alerts
cross join unnest(array['announced', 'failed', 'reminded']) as k (kind)
group by kind
"""

PARTITIONS_READ = """
select s.relid::regclass::text, c.oid::regclass::text, p.partition_start, p.partition_end
from pg_stat_xact_user_tables as s
join pg_inherits as i on i.inhrelid = s.relid
join pg_class as c on c.oid = i.inhparent and c.relkind = 'p'
join lateral ops.partitions_of(c.oid) as p on p.partition_name = s.relid
where coalesce(s.seq_scan, 0) + coalesce(s.idx_scan, 0) > 0
"""


def sql_of(query: Query, house: House, *, span: timedelta) -> str:
    """The statement for a range of `span` that ends with the rows of the house."""
    values = ONE_SERVER if query.board == "resmon-capacity" else VALUES
    return interpolated(query.sql, values, start=house.now - span, end=house.now)


@pytest.fixture
def connection(house: House) -> Iterator[psycopg.Connection]:
    """A new connection to the house with some more events; nothing of it stays."""
    with psycopg.connect(house.connection.info.dsn) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(EVENTS, {"now": house.now})
        yield connection
        connection.rollback()


@pytest.mark.parametrize("query", NAMED)
def test_query_gives_rows_with_the_columns_that_are_named(
    query: Query, house: House, connection: psycopg.Connection
) -> None:
    """Would let back: a panel that is empty or red because a view, column or parameter is another
    than its SQL says; an override or a link for a column that does not exist.
    """
    span = timedelta(days=7) if query.board == "resmon-capacity" else timedelta(hours=30)
    cursor = connection.execute(sql_of(query, house, span=span).encode())
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    rows = cursor.fetchall()
    # The house has no server that is overloaded.
    assert rows or query.title == "Overloaded", "no rows"
    assert len(set(names)) == len(names)
    assert query.fields <= set(names), sorted(query.fields - set(names))
    if query.format == "time_series":
        assert names[0] == "time"
        assert cursor.description[0].type_display == "timestamptz"
        assert [row[0] for row in rows] == sorted(row[0] for row in rows)
        # One text column names the series, the rest are values.
        kinds = [column.type_display for column in cursor.description[1:]]
        assert kinds.count("text") == names.count("metric")
        assert set(kinds) <= {"text", "float8", "int4", "int8", "numeric", "float4"}
        assert any(value is not None for row in rows for value in row[1:])
    if query.format == "variable":
        assert names == ["__text", "__value"]
    if query.format == "annotation":
        assert names == ["time", "timeend", "text", "tags"]


@pytest.mark.parametrize("query", NAMED)
def test_query_reads_the_partitions_of_its_range(
    query: Query, house: House, connection: psycopg.Connection
) -> None:
    """Would let back: a panel that reads a year to show six hours."""
    span = timedelta(hours=6)
    connection.execute(sql_of(query, house, span=span).encode())
    read = connection.execute(PARTITIONS_READ).fetchall()
    far = [
        name
        for name, table, start, end in read
        if table not in READ_WHOLE
        and (query.title, table) not in LOOK_BACK
        and (end <= house.now - span - SLACK or start > house.now + timedelta(days=1))
    ]
    assert far == []


def test_pruning_would_be_seen(house: House, connection: psycopg.Connection) -> None:
    """Would let back: a test of partitions that sees none."""
    connection.execute("select count(*) from resmon.anomaly_reports")
    read = connection.execute(PARTITIONS_READ).fetchall()
    assert any(end <= house.now - timedelta(days=20) for *_, end in read)


@pytest.mark.parametrize("query", NAMED)
def test_only_schema_resmon_is_asked(query: Query) -> None:
    """Would let back: a dashboard that breaks when the tables behind the views change."""
    schemas = set(re.findall(r"\b(?:from|join)\s+([a-z_]+)\.[a-z_]+", query.sql))
    assert schemas <= {"resmon"}


def test_all_boards_are_there() -> None:
    """Would let back: a board that is missing, or two that replace each other."""
    assert set(BOARDS) == UIDS
    assert len(boards()) == len(UIDS)
    assert len({board["title"] for board in BOARDS.values()}) == len(UIDS)


@pytest.mark.parametrize("uid", sorted(UIDS))
def test_board_is_well_formed(uid: str) -> None:
    """Would let back: panels that hide each other, a board in the server's time zone, a data
    source that only its author has.
    """
    board = BOARDS[uid]
    assert board["timezone"] == "browser"
    assert board["refresh"] in board["timepicker"]["refresh_intervals"]
    assert board["schemaVersion"] >= 36
    panels = list(panels_of(board))
    assert max(Counter(panel["id"] for panel in panels).values()) == 1
    cells = Counter(
        cell
        for panel in panels
        for cell in itertools.product(
            range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"]),
            range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"]),
        )
    )
    assert max(cells.values()) == 1
    assert max(x for x, _ in cells) == 23
    for panel in panels:
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {source["uid"] for source in sources} == {"resmon"}
        if panel["type"] == "timeseries":
            assert panel["fieldConfig"]["defaults"]["unit"]


def test_forecasts_lie_in_the_range_that_the_board_shows(
    house: House, connection: psycopg.Connection
) -> None:
    """Would let back: a panel of forecasts that is empty in Grafana, because the range that it asks
    for ends now, or because a range that ends in 30 days finds no forecast of its last week.
    """
    board = BOARDS["resmon-capacity"]
    assert board["time"] == {"from": "now-30d", "to": "now+30d"}
    connection.execute(
        "update forecast.capacity_forecasts set value = array_fill(1e9::real, array[30]),"
        " lower_80 = array_fill(1e9::real, array[30]), upper_80 = array_fill(1e9::real, array[30])"
    )
    (query,) = (one for one in QUERIES if one.title.endswith("measured and expected"))
    now = datetime.now(UTC)
    start, end = now - timedelta(days=30), now + timedelta(days=30)
    sql = interpolated(query.sql, ONE_SERVER, start=start, end=end)
    rows = connection.execute(sql.encode()).fetchall()
    ahead = [time for time, _, expected, _, _ in rows if expected is not None and time > now]
    assert len(ahead) >= 28
    assert any(measured is not None for _, measured, *_ in rows)
    assert all(start <= time < end + timedelta(days=1) for time, *_ in rows)


def test_each_cause_has_its_colour() -> None:
    """Would let back: a server that cannot be read in the green of one that can."""
    (panel,) = (
        one for one in panels_of(BOARDS["resmon-server"]) if one["type"] == "state-timeline"
    )
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    colours = {cause: shown["color"] for cause, shown in mapping["options"].items()}
    assert set(colours) == {"ok", COLLECTOR_DOWN, *get_args(Cause)}
    assert [cause for cause, colour in colours.items() if colour == "green"] == ["ok"]
    assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["color"] != "green"


def test_links_lead_to_boards() -> None:
    """Would let back: a link to a dashboard or variable that was renamed."""
    linked = set()
    for board in BOARDS.values():
        for panel in panels_of(board):
            linked |= set(re.findall(r"/d/([\w-]+)\?var-(\w+)=", str(panel)))
    assert linked
    for uid, variable in linked:
        assert variable in {one["name"] for one in BOARDS[uid]["templating"]["list"]}


def test_variables_are_declared() -> None:
    """Would let back: a query with a variable that its board does not have."""
    for query in QUERIES:
        used = set(re.findall(r"\$\{?([a-z]\w*)", query.sql))
        declared = {one["name"] for one in BOARDS[query.board]["templating"]["list"]}
        assert used <= declared, query


def test_provisioning_names_the_data_source_and_no_secret() -> None:
    """Would let back: boards without their data source, a password in a file, a variable that the
    README does not name.
    """
    source = yaml.safe_load((FOLDER / "provisioning/datasources/resmon.yaml").read_text("utf-8"))
    (found,) = source["datasources"]
    assert found["uid"] == "resmon"
    texts = [path.read_text("utf-8") for path in FOLDER.glob("provisioning/*/*.yaml")]
    provider = yaml.safe_load((FOLDER / "provisioning/dashboards/resmon.yaml").read_text("utf-8"))
    assert provider["providers"][0]["options"]["path"] == "$RESMON_GRAFANA_DASHBOARDS"
    assert found["secureJsonData"] == {"password": "$RESMON_GRAFANA_PASSWORD"}
    names = set(re.findall(r"\$(RESMON_\w+)", "".join(texts)))
    readme = (FOLDER / "README.md").read_text("utf-8")
    assert names <= set(re.findall(r"RESMON_\w+", readme))
