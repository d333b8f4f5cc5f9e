"""`resmon recompute`: computes windows of a range again, as the catch-up sensor does it by itself.

Belongs here: arguments. Which windows are meant, and waiting for them, is in recomputing.py.
"""

from typing import Any

import click

from resmon_cli.options import table_or_json, time_range

TIER_NAMES = ("1min", "5min", "1hour", "1day")


@click.command("recompute", context_settings={"ignore_unknown_options": True})
@time_range(since=None)
@click.option(
    "--tier",
    "tiers",
    multiple=True,
    type=click.Choice(TIER_NAMES),
    help="Only statistics per server of this bucket (several: each of them).",
)
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="TABLE",
    help="Only this table, such as tier.metrics_1hour (several: each of them).",
)
@click.option("--plan", "is_plan", is_flag=True, help="Show what would be done; change nothing.")
@click.option("--no-wait", "no_wait", is_flag=True, help="Ask for it, and do not wait.")
@click.option("--sync", "is_sync", is_flag=True, help="Run it in this process; needs no daemon.")
@table_or_json
def recompute_command(**given: Any) -> None:  # Any: click's
    """Compute the windows of [--from, --to) again from raw samples, in all tables or some.

    Windows are UTC hours, and UTC days for daily tables: each that the range touches is computed
    whole. Needed seldom, because late samples are caught up with by themselves; it clears red
    windows, and repairs rows that were changed by hand.

    TIME is ISO 8601 (UTC when no offset is given), `now`, or back from now: -30m, -2h, -7d.

    \b
    resmon recompute --from -6h --plan
    resmon recompute --from 2026-03-01 --to 2026-03-02 --tier 1hour --tier 1day

    Exit status 1 when windows were refused, because raw of their days is gone, or failed.
    """  # noqa: D301 - click looks for the control character
    from resmon_cli import recomputing  # noqa: PLC0415 - the asset graph: seconds and 250 MB

    recomputing.recompute(**given)
