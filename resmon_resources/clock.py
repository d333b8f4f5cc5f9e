"""The clock as a resource, so that a test decides what time it is.

Belongs here: nothing but the seam. Pure modules take `now` as an argument.
"""

from datetime import UTC, datetime

from dagster import ConfigurableResource


class ClockResource(ConfigurableResource[None]):
    """The machine's clock."""

    def now(self) -> datetime:
        """The present instant, aware UTC."""
        return datetime.now(UTC)
