"""Prints samples as they are stored, one JSON object per line; misses none and repeats none.

    pip install "psycopg[binary]>=3.2.4"
    python tail.py postgresql://reader@db.example.org/resmon --organization acme

Belongs here: a small consumer to copy; it imports nothing of Resmon. docs/live.md says why it does
what it does.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

LOOK_SECONDS = 10.0
"""Without a notice it looks this often: a notice may fail, what is stored does not."""
PAGE_ROWS = 10_000
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
CONNECTING: dict[str, Any] = {
    "application_name": "resmon-tail",
    "connect_timeout": 10,
    # A network that swallows packets ends the connection instead of looking like a quiet fleet.
    "keepalives_idle": 30,
    "tcp_user_timeout": 30_000,
    "options": "-c timezone=UTC",
}

FIND = """
    select organization_id from resmon.organizations where organization_name = %(organization)s
"""
SUBTREE = "select id from resmon.organization_subtree(%(organization_id)s) as below (id)"
PAGE = """
    select * from resmon.samples_after(%(position)s, %(organization_id)s, p_max_rows => %(rows)s)
"""

Row = dict[str, Any]


def follow(
    dsn: str, *, organization: str | None = None, position: int | None = None
) -> Iterator[tuple[list[Row], int]]:
    """Samples of an organization and of those below it; of all that the role may see, without one.

    Goes on for ever, and connects again when the connection is lost.

    Args:
        dsn: connection string of a role that may read schema resmon.
        organization: its name.
        position: number of the last commit that was dealt with; None begins with what is new.

    Yields:
        Rows of whole commits in their order, and the position to store together with what was made
        of them: with it a restart goes on where it was.

    Raises:
        LookupError: there is no such organization.
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            with psycopg.connect(
                dsn, autocommit=True, row_factory=dict_row, **CONNECTING
            ) as connection:
                # Before the first look, so that nothing falls in between.
                connection.execute("listen resmon_live")
                organization_id = find_organization(connection, organization)
                if position is None:
                    position = live_position(connection)
                while True:
                    # Asked before the rows are read: of all commits up to it the rows are visible.
                    newest = live_position(connection)
                    rows = read_page(connection, position, organization_id)
                    is_page_full = len(rows) >= PAGE_ROWS
                    if rows:
                        position = rows[-1]["commit_sequence"]
                    if not is_page_full:
                        position = max(position, newest)
                    pause = FIRST_PAUSE_SECONDS
                    if rows:
                        yield rows, position
                    if not is_page_full:
                        await_notice(connection, position, organization_id)
        except psycopg.OperationalError as error:
            sys.stderr.write(f"Connection lost, again in {pause:.1f} s: {error}\n")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def find_organization(connection: psycopg.Connection[Row], name: str | None) -> int | None:
    """Id of the organization; None for all."""
    if name is None:
        return None
    found = connection.execute(FIND, {"organization": name}).fetchone()
    if found is None:
        msg = f"There is no organization {name}, or this role may not see it."
        raise LookupError(msg)
    return int(found["organization_id"])


def live_position(connection: psycopg.Connection[Row]) -> int:
    """Number of the newest commit."""
    found = connection.execute("select resmon.live_position() as position").fetchone()
    return 0 if found is None else int(found["position"])


def read_page(
    connection: psycopg.Connection[Row], position: int, organization_id: int | None
) -> list[Row]:
    """Rows of the commits after `position`; the last commit is never cut."""
    values = {"position": position, "organization_id": organization_id, "rows": PAGE_ROWS}
    return connection.execute(PAGE, values).fetchall()


def await_notice(
    connection: psycopg.Connection[Row], position: int, organization_id: int | None
) -> None:
    """Wait for a notice of something new, at most LOOK_SECONDS."""
    ids: set[int] | None = None
    if organization_id is not None:
        # Each time anew: organizations are added and moved.
        found = connection.execute(SUBTREE, {"organization_id": organization_id}).fetchall()
        ids = {row["id"] for row in found}
    for notice in connection.notifies(timeout=LOOK_SECONDS):
        if concerns(notice.payload, position, ids):
            return


def concerns(payload: str, position: int, ids: set[int] | None) -> bool:
    """Whether it tells of a commit after `position` with rows of these organizations (None: any).

    Whoever may log in may send anything on a channel: what cannot be read is worth a look, and
    nothing in a notice is believed.
    """
    try:
        notice = json.loads(payload)
        sequence, organizations = int(notice["sequence"]), notice["organizations"]
        if sequence <= position:
            return False
        # null: there were too many for a notice, so it may be of any.
        return ids is None or organizations is None or not ids.isdisjoint(organizations)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return True


def main() -> None:
    """Print rows until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "dsn",
        nargs="?",
        default="",
        help="connection string of a role that may read schema resmon; default: PGHOST and so on",
    )
    parser.add_argument("--organization", help="its name; those below it are included")
    parser.add_argument(
        "--after", type=int, metavar="POSITION", help="commit_sequence to go on after"
    )
    options = parser.parse_args()
    try:
        for rows, _ in follow(
            options.dsn, organization=options.organization, position=options.after
        ):
            for row in rows:
                sys.stdout.write(json.dumps(row, default=datetime.isoformat) + "\n")
            sys.stdout.flush()
    except LookupError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
