"""Episodes and drifts that go on, handed to the rule `anomaly`.

Belongs here: the one question that both tables of this stage ask when they have written their
newest window. What an episode is worth is in `matters.py`.
"""

from datetime import datetime

import psycopg
from psycopg.rows import class_row

from resmon_assets.matters import OpenEpisode, of_episodes
from resmon_assets.observing import observe
from resmon_resources.postgres_connection import load_query


def observe_episodes(connection: psycopg.Connection, *, at: datetime, now: datetime) -> None:
    """Judge everything that is open now, in the transaction that wrote some of it.

    Episodes of minutes and drifts of weeks share their subjects, a server and metric: whichever
    table is written, both are read, so that neither ends what the other still says.

    Args:
        connection: in a transaction.
        at: instant that the verdicts hold for, aware UTC.
        now: aware UTC.
    """
    with connection.cursor(row_factory=class_row(OpenEpisode)) as cursor:
        cursor.execute(load_query("anomaly", "select_open_episodes").encode())
        episodes = cursor.fetchall()
    observe(
        connection,
        "anomaly",
        of_episodes(episodes, at=at),
        now=now,
        is_complete=True,
        gone="it behaves as usual again",
    )
