"""The clock as a resource, so that a test decides what time it is.

Belongs here: nothing but the seam. Pure modules take `now` as an argument.
"""

from datetime import UTC, datetime

from dagster import ConfigurableResource
from pydantic import Field


class ClockResource(ConfigurableResource):  # type: ignore[type-arg]  # its parameter is the resource's own value
    """The machine's clock, or one that stands still.

    Attributes:
        fixed_at: instant in ISO 8601 with a zone that the clock always shows; empty means the
            machine's clock.
    """

    fixed_at: str = Field(default="", description="For tests: the instant to show, ISO 8601.")

    def now(self) -> datetime:
        """The present instant, aware UTC."""
        if self.fixed_at:
            return datetime.fromisoformat(self.fixed_at).astimezone(UTC)
        return datetime.now(UTC)
