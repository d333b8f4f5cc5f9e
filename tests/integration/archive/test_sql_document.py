"""docs/sql.md: what it says of the archive is run, on an archive that Resmon wrote."""

import re
from pathlib import Path

import duckdb
import polars as pl
import pytest

from resmon_assets.frames import ARCHIVED_SAMPLES, POSTGRES_TYPES, RAW_SAMPLES
from resmon_resources.archive_resource import ArchiveResource
from resmon_resources.postgres import PostgresResource
from resmon_resources.settings import PROJECT_ROOT
from tests.integration.archive.days import HOUR, MIDNIGHT, Archiving
from tests.integration.tier.fleet import Fleet

pytestmark = pytest.mark.integration

DOCUMENT = (
    (PROJECT_ROOT / "docs" / "sql.md")
    .read_text(encoding="utf-8")
    .partition("\n## The archive\n")[2]
    .partition("\n## ")[0]
)
"""What it says of the archive; the rest is run by tests/integration/consumers."""


def snippets(fence: str) -> list[str]:
    """Blocks of the document with this fence, in order."""
    return re.findall(rf"^```{fence}\n(.*?)^```$", DOCUMENT, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def archive(
    postgres: PostgresResource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Archiving:
    """Two days of two servers in the place that the document names, which is the present folder."""
    (tmp_path / ".resmon").mkdir()
    monkeypatch.chdir(tmp_path)
    resource = ArchiveResource(url=(tmp_path / ".resmon" / "archive").as_uri())
    archiving = Archiving(postgres, resource)
    fill(archiving)
    return archiving


def fill(archiving: Archiving) -> None:
    """Two servers that are half and wholly busy, two hours of one day and one of the next."""
    fleet = Fleet(archiving.postgres)
    organization = fleet.organization("alpha")
    for name, cpu_pct in (("web1", 50.0), ("web2", 100.0)):
        server = fleet.server(name, organization)
        for start, end in (
            (MIDNIGHT, MIDNIGHT + 2 * HOUR),
            (MIDNIGHT + 24 * HOUR, MIDNIGHT + 25 * HOUR),
        ):
            fleet.sample(
                server,
                organization,
                start,
                end,
                cpu_pct=cpu_pct,
                network_in_bytes=1000,
                network_out_bytes=10,
                memory_used_bytes=1,
            )
    archiving.execute("update raw.server_resource_metrics set memory_total_bytes = server_id * 2")
    days = [MIDNIGHT.date(), (MIDNIGHT + 24 * HOUR).date()]
    assert archiving.archive(days[0], last=days[1], now=MIDNIGHT + 49 * HOUR).success


def test_duckdb_reads_the_archive_as_documented(archive: Archiving) -> None:
    """Lets back: examples that nobody ran."""
    busiest, traffic, named = snippets("sql duckdb")
    rows = duckdb.sql(busiest).fetchall()
    assert len(rows) == 10
    assert {(row[0], row[2], row[3], row[4]) for row in rows} == {(2, 10, 100.0, 100.0)}
    assert duckdb.sql(traffic).fetchall() == [
        (MIDNIGHT.date(), 240_000, 2_400),
        ((MIDNIGHT + 24 * HOUR).date(), 120_000, 1_200),
    ]
    (query,) = re.findall(r"\\copy \((.*?)\) to 'servers\.csv' csv header", DOCUMENT)
    pl.DataFrame(archive.execute(query), schema=["server_id", "name"], orient="row").write_csv(
        "servers.csv"
    )
    assert duckdb.sql(named).fetchall() == [("web1", 0.5), ("web2", 0.25)]


def test_polars_reads_the_archive_as_documented(archive: Archiving) -> None:
    """Lets back: examples that nobody ran."""
    (code,) = snippets("python")
    names: dict[str, pl.DataFrame] = {}
    exec(code, names)  # noqa: S102 - the document's own text
    assert names["busiest"].select("server_id", "samples", "cpu_pct_p95").unique().rows() == [
        (2, 10, 100.0)
    ]


def test_polars_reads_a_bucket_as_documented(
    postgres: PostgresResource, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lets back: an archive in a bucket that polars cannot open with the documented settings."""
    fill(Archiving(postgres, ArchiveResource(url=bucket)))
    (code,) = snippets("python s3")
    names: dict[str, pl.DataFrame] = {}
    exec(code.replace("s3://our-bucket/resmon", bucket), names)  # noqa: S102 - the document's own text
    assert names["by_server"].rows() == [(1, 240), (2, 240)]


def test_every_column_is_documented_with_its_type_and_unit() -> None:
    """Lets back: a column of the archive that its readers must guess."""
    table = dict(re.findall(r"^\| (`[^|]*) \| (.*)$", DOCUMENT, flags=re.MULTILINE))
    told = {name: rest for names, rest in table.items() for name in re.findall(r"`(\w+)`", names)}
    declared = {column.name: column for column in RAW_SAMPLES}
    for name in ARCHIVED_SAMPLES:
        expected = POSTGRES_TYPES[declared[name].dtype].replace(
            "timestamp with time zone", "timestamp, UTC"
        )
        assert told[name].startswith(f"{expected} |"), name
        assert declared[name].unit.split(" since")[0] in told[name], name
