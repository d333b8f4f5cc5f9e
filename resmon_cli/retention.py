"""`resmon retention`: how long tables are kept, and what the next round of retention drops and why.

Belongs here: arguments and output. The policy is in resmon_resources/retention_policy.py, the round
in resmon_assets/retention; dropping is done by the asset retention/pruned_partitions only.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import click
from rich.table import Table
from rich.text import Text

from resmon_assets.retention.downstream import DOWNSTREAM
from resmon_assets.retention.prune import held_back, plan
from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.lazy import NamedGroup
from resmon_cli.options import table_or_json
from resmon_cli.status import too_late_lines
from resmon_resources.errors import ConfigurationInvalid
from resmon_resources.retention_policy import Policy, days_text, read_policy, set_policy
from resmon_resources.retention_store import Rules, Verdict, table_sizes
from resmon_resources.too_late import WaitingDay, waiting_days
from resmon_resources.words import counted

ROUND_AT = timedelta(hours=1, minutes=10)
"""Time of day (UTC) of the daily round, as retention_schedule has it."""

FOR_EVER = "forever"
MAXIMUM_DAYS = 36_500


@click.group("retention", cls=NamedGroup)
def retention_command() -> None:
    """How long tables are kept, and what is dropped.

    Every night at 01:10 UTC whole partitions are dropped that are older than the policy, and only
    when everything that is computed from them is finished, and raw samples are archived.
    """


@retention_command.command("show")
@table_or_json
def show(*, as_json: bool) -> None:
    """Show every table with its policy, its size, and what the next round would free.

    Rows are those of PostgreSQL's statistics, not counted.
    """
    rules = next_rules(datetime.now(UTC))
    with data_connection() as connection:
        policy = read_policy(connection)
        sizes = table_sizes(connection, sorted(policy))
        verdicts = plan(connection, rules)
        waiting = waiting_days(connection, now=rules.now)
    if as_json:
        render.print_json(
            {
                "next_round_at": rules.now,
                "tables": [_table_json(table, policy, sizes, verdicts) for table in sorted(policy)],
                "days": [
                    {
                        "day": item.day.isoformat(),
                        "pruned_at": item.pruned_at,
                        "kept_until": item.kept_until,
                        "too_late_rows": item.too_late_rows,
                    }
                    for item in waiting
                ],
            }
        )
        return
    render.console().print(policy_table(policy, sizes, verdicts))
    for line in [*remarks(verdicts, rules), *waiting_lines(waiting)]:
        render.note(line)


@retention_command.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("table")
@click.argument("days")
def set_days(table: str, days: str) -> None:
    """Keep TABLE for DAYS days, or `forever`.

    Refused is what would lose data: a coarser table that is gone before the finer one that it sums
    up, and raw that goes before late samples had their chance. Nothing is dropped now.

    \b
    resmon retention set tier.metrics_1min 60
    resmon retention set tier.metrics_1hour forever
    """  # noqa: D301 - click looks for the control character
    keep = parse_keep(days)
    now = datetime.now(UTC)
    with data_connection() as connection:
        set_policy(connection, table, keep, now=now)
        verdicts = plan(connection, next_rules(now))
    going = [v for v in verdicts if v.is_dropped and v.partition.table == table]
    click.echo(f"{table} is kept {days_text(keep)}.")
    if going:
        size = render.bytes_text(sum(verdict.freed_bytes for verdict in going))
        render.note(
            f"{len(going)} of its partitions ({size}) go with the next round. "
            "All of them: resmon retention plan"
        )


@retention_command.command("plan")
@table_or_json
def show_plan(*, as_json: bool) -> None:
    """List every partition: whether the next round drops it, and why it must stay. A dry run.

    The round itself looks again, under the lock of each drop, and reads the archived files of a day
    of raw before it goes.
    """
    rules = next_rules(datetime.now(UTC))
    with data_connection() as connection:
        verdicts = plan(connection, rules)
    if as_json:
        render.print_json([_verdict_json(verdict) for verdict in verdicts])
        return
    if not verdicts:
        render.note("There is no partition yet: nothing was collected.")
        return
    render.console().print(plan_table(verdicts))
    for line in remarks(verdicts, rules):
        render.note(line)


def next_rules(now: datetime) -> Rules:
    """What the next round judges by: its time, and the midnight before it."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if now >= midnight + ROUND_AT:
        midnight += timedelta(days=1)
    return Rules(as_of=midnight, now=midnight + ROUND_AT, downstream=DOWNSTREAM)


def parse_keep(text: str) -> timedelta | None:
    """Whole days, or None for `forever`.

    Raises:
        ConfigurationInvalid: says what is understood.
    """
    word = text.strip().lower()
    if word == FOR_EVER:
        return None
    if word.isascii() and word.isdigit() and 1 <= int(word) <= MAXIMUM_DAYS:
        return timedelta(days=int(word))
    msg = f"{text!r} is not a number of days. Give 1 to {MAXIMUM_DAYS}, or {FOR_EVER}."
    raise ConfigurationInvalid(msg)


def policy_table(
    policy: Policy, sizes: Mapping[str, tuple[int, int]], verdicts: Sequence[Verdict]
) -> Table:
    """One line per table of the policy that is there."""
    table = render.plain_table(
        *("TABLE", "KEPT", "ROWS", "SIZE", "PARTITIONS", "OLDEST", "NEWEST", "NEXT FREES"),
        right=("ROWS", "SIZE", "PARTITIONS", "NEXT FREES"),
        spare=("NEWEST", "PARTITIONS", "OLDEST", "ROWS"),
    )
    for name in sorted(policy):
        if name not in sizes:
            continue
        own = [v for v in verdicts if v.partition.table == name]
        rows, size = sizes[name]
        going = sum(v.freed_bytes for v in own if v.is_dropped)
        table.add_row(
            name,
            days_text(policy[name]),
            f"{rows + sum(v.partition.row_estimate for v in own):,}",
            render.bytes_text(size + sum(v.partition.size_bytes for v in own)),
            str(len(own)) if own else render.NOTHING,
            f"{own[0].partition.start:%Y-%m-%d}" if own else render.NOTHING,
            f"{own[-1].partition.start:%Y-%m-%d}" if own else render.NOTHING,
            render.bytes_text(going) if going else render.NOTHING,
        )
    return table


def plan_table(verdicts: Sequence[Verdict]) -> Table:
    """One line per partition."""
    table = render.plain_table(
        *("TABLE", "FROM", "TO", "ROWS", "SIZE", "", "WHY"), right=("ROWS", "SIZE")
    )
    for verdict in verdicts:
        partition = verdict.partition
        table.add_row(
            partition.table,
            f"{partition.start:%Y-%m-%d}",
            f"{partition.end:%Y-%m-%d}",
            f"{verdict.row_count:,}",
            render.bytes_text(verdict.freed_bytes),
            Text("drop", style="bold red") if verdict.is_dropped else "keep",
            "; ".join(blocker.detail for blocker in verdict.blockers),
        )
    return table


def remarks(verdicts: Sequence[Verdict], rules: Rules) -> list[str]:
    """What goes with the next round, and what would if it could."""
    going = [verdict for verdict in verdicts if verdict.is_dropped]
    when = f"The round of {rules.now:%Y-%m-%d %H:%M} UTC"
    if going:
        size = render.bytes_text(sum(verdict.freed_bytes for verdict in going))
        lines = [f"{when} drops {counted(len(going), 'partition')} and frees {size}."]
    else:
        lines = [f"{when} drops nothing."]
    kept = held_back(verdicts)
    if kept:
        first = kept[0]
        lines.append(
            f"{counted(len(kept), 'partition')} older than the policy must stay, the first "
            f"{first.partition.table} of {first.partition.start:%Y-%m-%d}: "
            f"{'; '.join(blocker.detail for blocker in first.blockers)}."
        )
    return lines


def waiting_lines(waiting: Sequence[WaitingDay]) -> list[str]:
    """What is to be said of rows that came too late, and of restored days."""
    lines = too_late_lines(waiting)
    lines += [
        f"{item.day} was restored and is kept until {item.kept_until:%Y-%m-%d %H:%M} UTC."
        for item in waiting
        if item.kept_until is not None
    ]
    return lines


def _table_json(
    table: str,
    policy: Policy,
    sizes: Mapping[str, tuple[int, int]],
    verdicts: Sequence[Verdict],
) -> dict[str, object]:
    """One table for machines; no figures of one that is not there."""
    own = [verdict for verdict in verdicts if verdict.partition.table == table]
    keep = policy[table]
    rows, size = sizes.get(table, (None, None))
    return {
        "table": table,
        "keep_days": None if keep is None else keep.days,
        "row_estimate": None if rows is None else rows + sum(v.partition.row_estimate for v in own),
        "size_bytes": None if size is None else size + sum(v.partition.size_bytes for v in own),
        "partitions": len(own),
        "oldest": own[0].partition.start if own else None,
        "newest": own[-1].partition.start if own else None,
        "next_round_drops": sum(verdict.is_dropped for verdict in own),
        "next_round_frees_bytes": sum(v.freed_bytes for v in own if v.is_dropped),
    }


def _verdict_json(verdict: Verdict) -> dict[str, object]:
    """One partition for machines."""
    return {
        "table": verdict.partition.table,
        "start": verdict.partition.start,
        "end": verdict.partition.end,
        "row_estimate": verdict.row_count,
        "size_bytes": verdict.freed_bytes,
        "is_dropped": verdict.is_dropped,
        "blockers": [
            {"reason": blocker.reason, "detail": blocker.detail} for blocker in verdict.blockers
        ],
    }
