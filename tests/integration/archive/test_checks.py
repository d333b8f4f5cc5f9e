"""The checks that read the archive again: red and green, and what red does."""

import polars as pl
import pytest

from resmon_assets.archive import days
from resmon_assets.archive.checks import judge_stored, results_of
from tests.integration.archive.days import (
    DAY,
    HOUR,
    MIDNIGHT,
    NEXT_NIGHT,
    Archiving,
    flip_a_byte,
)

pytestmark = pytest.mark.integration


def judge(archiving: Archiving):
    """Results by the end of their names, of the newest archived day."""
    judged = judge_stored(archiving.postgres, archiving.resource.open(), days=[], now=NEXT_NIGHT)
    return {
        result.check_name.removeprefix("archive_raw_samples_"): result
        for result in results_of(judged)
        if result.check_name is not None
    }


def is_red(archiving: Archiving) -> bool:
    return archiving.execute(
        "select is_red from ops.window_state where asset = 'archive.raw_samples' "
        "and window_start = %s",
        (MIDNIGHT,),
    )[0][0]


@pytest.mark.parametrize("damage", ["flip", "remove", "manifest"])
def test_a_damaged_day_is_red_until_it_is_written_again(archiving: Archiving, damage: str) -> None:
    """Lets back: raw dropped although the only copy of it is broken."""
    archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    archiving.archive()
    assert all(result.passed for result in judge(archiving).values())
    if damage == "flip":
        flip_a_byte(archiving.folder / "0100.parquet")
    elif damage == "remove":
        (archiving.folder / "0100.parquet").unlink()
    else:
        (archiving.folder / "manifest.json").unlink()
    result = judge(archiving)["matches_manifest"]
    assert not result.passed
    assert result.metadata["day"].value == "2026-03-01"
    name = "manifest.json" if damage == "manifest" else "0100.parquet"
    assert f"raw_samples/day=2026-03-01/{name}" in str(result.metadata["actual"].value)
    assert is_red(archiving)
    assert archiving.archive().check("matches_manifest").passed
    assert not is_red(archiving)


def test_a_day_that_lost_rows_between_count_and_file_is_red(
    archiving: Archiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lets back: a slice that is read short, and nobody who counts."""
    archiving.store(MIDNIGHT, MIDNIGHT + 2 * HOUR)
    cut = days.slices_of
    monkeypatch.setattr(days, "slices_of", lambda counts, limit: cut(counts, limit=limit)[:-1])
    run = archiving.archive()
    result = run.check("keeps_every_row")
    assert not result.passed
    assert result.metadata["missing_rows"].value == 12
    assert is_red(archiving)


def test_files_with_other_types_are_red(archiving: Archiving) -> None:
    """Lets back: a file that some other program wrote, found when it is restored."""
    archiving.store(MIDNIGHT, MIDNIGHT + HOUR)
    with pytest.MonkeyPatch.context() as patched:
        encode = days.encode_rows

        def narrower(frame: pl.DataFrame) -> bytes:
            return encode(frame.with_columns(pl.col("server_id").cast(pl.Int64)))

        patched.setattr(days, "encode_rows", narrower)
        patched.setattr(pl.DataFrame, "equals", lambda *_args, **_keywords: True)
        archiving.archive(checks=False)
    result = judge(archiving)["has_schema"]
    assert not result.passed
    assert result.metadata["actual"].value == 2
    assert is_red(archiving)


def test_a_day_that_is_not_archived_warns(archiving: Archiving) -> None:
    """Lets back: a schedule that stopped, noticed when retention has waited for weeks."""
    archiving.store(MIDNIGHT, MIDNIGHT + HOUR)
    result = judge(archiving)["is_fresh"]
    assert (result.passed, result.severity.value) == (False, "WARN")
    assert DAY.isoformat() in str(result.metadata["examples"].value)
    archiving.archive()
    archiving.prune()
    archiving.execute("select ops.bump_raw_hour(%s, 0)", (MIDNIGHT,))
    assert judge(archiving)["is_fresh"].passed
