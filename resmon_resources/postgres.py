"""The data database as a resource of Dagster.

Belongs here: translation of configuration into a database. Connections are in database.py, frames
in postgres_frames.py, which commands use without Dagster.
"""

from dagster import ConfigurableResource

from resmon_resources.postgres_frames import FrameDatabase


class PostgresResource(ConfigurableResource, FrameDatabase):  # type: ignore[type-arg]  # its parameter is the resource's own value
    """The data database.

    Attributes:
        dsn: URL; empty means the one of the settings (RESMON_POSTGRES_DSN, else the embedded
            server), read when used.
    """

    dsn: str = ""
