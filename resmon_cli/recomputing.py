"""One `resmon recompute`: windows of a range that are computed again.

Belongs here: which windows are meant, what is said of them, and waiting. Arguments are in
recompute.py. A wish is written into the
ledger; the sensor turns it into runs of Dagster, few and of bounded length, and the runs compute
these windows from scratch. With --sync the same runs are executed here.
"""

import importlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime

import click
import psycopg
from dagster import DagsterInstance, Definitions

from resmon_assets.automation import WATCHED, catch_up_request, catch_up_sensor, stale_of
from resmon_assets.catch_up import CatchUp, Watched, runs_of
from resmon_cli import render
from resmon_cli.connection import data_connection
from resmon_cli.environment import is_reachable, prepare_home, service_variables
from resmon_cli.progress import step_bars
from resmon_cli.times import window_of
from resmon_resources import catch_up_ledger
from resmon_resources.catch_up_ledger import Wish
from resmon_resources.embedded_postgres import dagster_url
from resmon_resources.errors import ConfigurationInvalid, DatabaseUnreachable
from resmon_resources.retention_policy import read_policy
from resmon_resources.settings import load_settings
from resmon_resources.window_ledger import StaleWindow
from resmon_resources.words import listed, suggestion

DEFINITIONS_MODULE = "resmon_assets.definitions"
"""Loaded by name, and with --sync only: nothing imports it."""

POLL_SECONDS = 1.0
UNTRIED_SECONDS = 150.0
"""Longer than two ticks of the sensor: without any run until then, a person is told."""

DAEMON_SECONDS = 120.0
_INTERRUPTED = 130
_LISTED_DAYS = 14


@dataclass(frozen=True, slots=True)
class Plan:
    """What is going to be computed again.

    Attributes:
        windows: of each table, oldest first; those that raw is there for.
        stale: why windows are stale anyway, by table and start.
        missing_days: UTC days of the range whose raw is gone.
        refused: windows on these days, by table.
    """

    windows: Mapping[Watched, Sequence[datetime]]
    stale: Mapping[tuple[str, datetime], str]
    missing_days: Sequence[date]
    refused: Mapping[str, int]

    @property
    def named(self) -> list[tuple[str, datetime]]:
        """All windows as the ledger names them."""
        return [(one.table, start) for one, starts in self.windows.items() for start in starts]


def recompute(
    *,
    from_text: str,
    to_text: str,
    tiers: tuple[str, ...],
    tables: tuple[str, ...],
    is_plan: bool,
    no_wait: bool,
    is_sync: bool,
    as_json: bool,
) -> None:
    """Have windows of a range computed again and tell of it; the arguments are the command's.

    Raises:
        ConfigurationInvalid: a time, a range or a table that cannot be, or nobody would compute.
        DatabaseUnreachable: Dagster's own database does not answer.
    """
    now = datetime.now(UTC)
    start, end = window_of(from_text, to_text, now=now)
    chosen = _chosen(tiers, tables)
    with data_connection() as connection:
        plan = plan_of(connection, chosen, start=start, end=end, now=now)
        if is_plan or not plan.named:
            _show_plan(plan, as_json=as_json)
            _end(plan, {})
            return
        with _instance(is_sync=is_sync) as instance:
            if not is_sync:
                _check_daemon(instance)
            _request(connection, plan, now=now)
            done = _Waiting(connection, plan, requested_at=now, is_quiet=as_json)
            if is_sync:
                done.execute(instance)
            elif no_wait:
                render.note(f"Asked for {len(plan.named)} windows; the catch-up sensor runs them.")
            else:
                done.wait()
            result = {} if no_wait and not is_sync else done.look()
    if as_json:
        render.print_json(_json_of(plan, result))
    _end(plan, result)


def plan_of(
    connection: psycopg.Connection,
    tables: Sequence[Watched],
    *,
    start: datetime,
    end: datetime,
    now: datetime,
) -> Plan:
    """Windows of these tables that touch [start, end), have closed and are within retention."""
    policy = read_policy(connection)
    missing = catch_up_ledger.missing_raw_days(connection, start, min(end, now))
    windows: dict[Watched, list[datetime]] = {}
    refused: Counter[str] = Counter()
    reasons: dict[tuple[str, datetime], str] = {}
    for watched in tables:
        gone = set(missing) if watched.is_from_samples else set()
        found = watched.windows_between(
            max(start, watched.since(policy, now=now)), min(end, watched.closed_until(now))
        )
        windows[watched] = [one for one in found if one.date() not in gone]
        refused[watched.table] = len(found) - len(windows[watched])
        for stale in stale_of(connection, watched, now=now, policy=policy):
            reasons[watched.table, stale.start] = stale.reason
    return Plan(windows, reasons, missing, refused)


def _chosen(tiers: Sequence[str], tables: Sequence[str]) -> list[Watched]:
    """The watched tables that are meant; all of them when none is named.

    Raises:
        ConfigurationInvalid: a table that is not watched; suggests a close one.
    """
    known = [watched.table for watched in WATCHED]
    for table in tables:
        if table not in known:
            msg = (
                f"{table!r} is not a table that is computed.{suggestion(table, known)} "
                f"There are: {', '.join(known)}."
            )
            raise ConfigurationInvalid(msg)
    names = {*tables, *(f"tier.metrics_{tier}" for tier in tiers)}
    return [watched for watched in WATCHED if not names or watched.table in names]


def _request(connection: psycopg.Connection, plan: Plan, *, now: datetime) -> None:
    """Write the wish, all or nothing."""
    with connection.transaction():
        for watched, starts in plan.windows.items():
            catch_up_ledger.request_windows(connection, watched.table, starts, now=now)


@contextmanager
def _instance(*, is_sync: bool) -> Iterator[DagsterInstance]:
    """Dagster's instance; with --sync and without Dagster's database one that keeps nothing.

    Raises:
        DatabaseUnreachable: Dagster's own database does not answer or does not exist yet.
    """
    settings = load_settings()
    prepare_home(settings)
    os.environ.update(service_variables(settings))
    # Asked first: Dagster itself would log six attempts before it fails with a traceback.
    if is_reachable(dagster_url(settings)):
        with DagsterInstance.get() as instance:
            yield instance
        return
    if not is_sync:
        msg = (
            "Dagster's own database does not answer or does not exist yet, so nothing would run. "
            "Start it with `resmon up`, or compute in this process: resmon recompute ... --sync"
        )
        raise DatabaseUnreachable(msg)
    with DagsterInstance.ephemeral() as instance:
        yield instance


def _check_daemon(instance: DagsterInstance) -> None:
    """Refuse to ask when nobody would hear it.

    Raises:
        ConfigurationInvalid: the daemon's sensors have not beaten lately; says what to do.
    """
    beat = instance.get_daemon_heartbeats().get("SENSOR")
    if beat is not None and time.time() - beat.timestamp < DAEMON_SECONDS:
        return
    msg = (
        "Dagster's daemon is not running, so nothing would be computed. Start it with `resmon up`, "
        "or compute in this process: resmon recompute ... --sync"
    )
    raise ConfigurationInvalid(msg)


class _Waiting:
    """A bar per table until every window that was asked for is computed, refused or failing."""

    def __init__(
        self,
        connection: psycopg.Connection,
        plan: Plan,
        *,
        requested_at: datetime,
        is_quiet: bool,
    ) -> None:
        self._connection = connection
        self._plan = plan
        self._requested_at = requested_at
        self._progress = step_bars("{task.fields[told]}", is_quiet=is_quiet)
        self._bars = {
            watched.table: self._progress.add_task(watched.table, total=len(starts), told="")
            for watched, starts in plan.windows.items()
            if starts
        }

    def look(self) -> dict[str, Wish]:
        """What became of the windows, by table; moves the bars."""
        found = catch_up_ledger.wishes(
            self._connection, self._plan.named, requested_at=self._requested_at
        )
        for table, wish in found.items():
            told = [f"{wish.refused} refused"] if wish.refused else []
            told += [f"{wish.failing} failing"] if wish.failing else []
            self._progress.update(self._bars[table], completed=wish.computed, told=", ".join(told))
        return found

    def wait(self) -> None:
        """Until all is over; Ctrl-C leaves the runs going, and says so."""
        begun = time.monotonic()
        is_warned = False
        try:
            with self._progress:
                while True:
                    found = self.look()
                    if all(wish.is_over for wish in found.values()):
                        return
                    is_tried = any(wish.is_tried or wish.computed for wish in found.values())
                    is_late = time.monotonic() - begun > UNTRIED_SECONDS
                    if is_late and not is_tried and not is_warned:
                        is_warned = True
                        self._progress.print(
                            f"No run has been requested yet. Is {catch_up_sensor.name} switched on "
                            "in Dagster's UI? Others may be in front in the queue."
                        )
                    time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            render.note(
                "\nNo longer waiting. What was asked for stays asked for, and its runs go on; "
                "Dagster's UI shows them under the tag resmon/catch_up."
            )
            raise click.exceptions.Exit(_INTERRUPTED) from None

    def execute(self, instance: DagsterInstance) -> None:
        """The runs of the plan in this process, one after the other."""
        definitions: Definitions = importlib.import_module(DEFINITIONS_MODULE).defs
        wanted = {
            watched: [StaleWindow(start, "requested", revision=0) for start in starts]
            for watched, starts in self._plan.windows.items()
        }
        with self._progress:
            for run in runs_of(wanted):
                execute_run(run, definitions, instance)
                self.look()


def execute_run(run: CatchUp, definitions: Definitions, instance: DagsterInstance) -> bool:
    """One run in this process; whether it succeeded. Only what is critical reaches the terminal."""
    request = catch_up_request(run)
    job = definitions.resolve_job_def(run.job_name)
    result = job.execute_in_process(
        partition_key=request.partition_key,
        tags=dict(request.tags),
        asset_selection=request.asset_selection,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        instance=instance,
        raise_on_error=False,
    )
    return result.success


def _show_plan(plan: Plan, *, as_json: bool) -> None:
    """The windows by table, and why."""
    if as_json:
        render.print_json(_json_of(plan, {}))
        return
    table = render.plain_table(
        "TABLE", "WINDOWS", "FIRST", "LAST", "WHY", "REFUSED", right=("WINDOWS", "REFUSED")
    )
    for watched, starts in plan.windows.items():
        table.add_row(
            watched.table,
            str(len(starts)),
            render.time_text(starts[0]) if starts else render.NOTHING,
            render.time_text(starts[-1]) if starts else render.NOTHING,
            ", ".join(f"{count} {why}" for why, count in _reasons(plan, watched, starts).items())
            or render.NOTHING,
            str(plan.refused[watched.table]),
        )
    render.console().print(table)


def _reasons(plan: Plan, watched: Watched, starts: Sequence[datetime]) -> Counter[str]:
    """Why the windows of a table are computed: stale for a reason, or only because of the wish."""
    return Counter(plan.stale.get((watched.table, start), "up to date") for start in starts)


def _json_of(plan: Plan, result: Mapping[str, Wish]) -> dict[str, object]:
    """Plan and result for machines."""
    return {
        "tables": [
            {
                "table": watched.table,
                "windows": len(starts),
                "first": starts[0] if starts else None,
                "last": starts[-1] if starts else None,
                "reasons": dict(_reasons(plan, watched, starts)),
                "refused": plan.refused[watched.table]
                + (result[watched.table].refused if watched.table in result else 0),
                "computed": result[watched.table].computed if watched.table in result else 0,
                "failing": result[watched.table].failing if watched.table in result else 0,
            }
            for watched, starts in plan.windows.items()
        ],
        "missing_days": [day.isoformat() for day in plan.missing_days],
    }


def _end(plan: Plan, result: Mapping[str, Wish]) -> None:
    """Say what was refused or failed; exit status 1 then."""
    is_bad = False
    if sum(plan.refused.values()):
        days = [day.isoformat() for day in plan.missing_days]
        render.note(
            f"Refused {sum(plan.refused.values())} windows, which stay as they are: raw of "
            f"{listed(days, most=_LISTED_DAYS)} is gone. Bring a day back with: "
            "resmon archive restore DAY"
        )
        is_bad = True
    refused = sum(wish.refused for wish in result.values())
    left = sum(wish.windows - wish.computed - wish.refused for wish in result.values())
    if refused:
        render.note(f"Refused {refused} windows by their runs; why: resmon status")
    if left:
        render.note(
            f"{left} windows are not computed: their runs failed. Look at the runs in Dagster's "
            "UI; the catch-up sensor tries them again, ever more seldom."
        )
    if is_bad or refused or left:
        raise click.exceptions.Exit(1)
    if not plan.named:
        render.note("Nothing to compute: no window of the range has closed, or none is kept.")
