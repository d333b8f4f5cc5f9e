"""`resmon alert replay`: what a rule would have done on stored history.

Belongs here: arguments. What is compared and what is told is in replaying.py.
"""

from pathlib import Path
from typing import Any

import click

from resmon_cli.options import table_or_json, time_range
from resmon_cli.rule_options import level_options


@click.command("replay")
@click.argument("rule")
@time_range(since="-7d")
@level_options
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="What only it has.")
@click.option("--server", "names", multiple=True, help="Only this server; several: each of them.")
@click.option("--organization", help="Only this organization with all below it.")
@click.option("--tag", help="Only servers with this tag.")
@table_or_json
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    help="PNG to write: values, levels and alerts of the subjects with the most alerts.",
)
def replay_command(rule: str, **given: Any) -> None:  # Any: click's
    """Show which alerts RULE would have opened in [--from, --to).

    Without --level, --clear, --for, --keep and --option the rule is replayed as it holds now, with
    every setting; with them also as changed by them, and the difference is told. Nothing is stored.

    From samples where they are stored; of older days from buckets of one or five minutes, whose
    lowest and highest value say whether all samples of it reached or left a level. Silences and
    maintenance windows are not looked at: an alert opens in them too, and is told to nobody.

    TIME is ISO 8601 (UTC when no offset is given), `now`, or back from now: -30m, -2h, -7d.
    DURATION is 90s, 5m, 2h, 1d or 1h30m.

    \b
    resmon alert replay cpu_high
    resmon alert replay cpu_high --level 95 --for 10m --tag batch
    resmon alert replay disk_high --from -30d --level 80:info --level 90 --picture disks.png

    In the timeline - is info, = warning, # critical.
    """  # noqa: D301 - click takes a backspace, not the letters
    from resmon_cli import replaying  # noqa: PLC0415 - polars: half a second and 80 MB

    replaying.replay(rule, **given)
