"""The archive's store as a resource of Dagster.

Belongs here: translation of configuration into an ArchiveStore. How it works is in
archive_store.py, which commands use without Dagster.
"""

from dagster import ConfigurableResource
from pydantic import Field

from resmon_resources.archive_store import ArchiveStore, open_store
from resmon_resources.settings import load_settings


class ArchiveResource(ConfigurableResource):  # type: ignore[type-arg] # the resource is its own value
    """Where raw samples are archived."""

    url: str = Field(
        default="",
        description="Folder or bucket as a URL, without credentials; empty: RESMON_ARCHIVE_URL.",
    )

    def open(self) -> ArchiveStore:
        """The store; opens no connection."""
        return open_store(self.url or load_settings().archive_url)
