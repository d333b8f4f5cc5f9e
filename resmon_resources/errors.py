"""The errors of Resmon, as one tree.

Belongs here: every exception that Resmon raises on purpose. Imports nothing of ours.

    ResmonError
    ├── ConfigurationInvalid        a setting or an argument that cannot be used
    ├── FileUnusable                a file that a person gave; carries its path and row
    ├── StateUnusable               a state folder of another version, owner or in use
    ├── DatabaseError
    │   ├── DatabaseUnreachable     no connection
    │   ├── DatabaseTooOld          the server's version is below 15
    │   ├── SchemaOutdated          migrations are pending
    │   └── MigrationFailed         a file changed after it was applied, or its SQL failed
    ├── InventoryError
    │   ├── AccessRefused           a grant that would limit nobody, or is not there
    │   ├── InventoryInvalid        a value that the inventory refuses
    │   ├── NameTaken               an organization or server of this name exists
    │   ├── OrganizationUnknown
    │   ├── OrganizationNotEmpty
    │   ├── QuotaInvalid            a resource or limit that cannot be
    │   ├── RoleUnknown
    │   └── ServerUnknown
    ├── AlertError
    │   ├── AlertOver               a resolved alert that cannot be changed any more
    │   ├── AlertUnknown            no alert has this number
    │   ├── RouteInvalid            a route that cannot be like this
    │   ├── RouteUnknown
    │   ├── SilenceUnknown          no silence or maintenance window has this number
    │   ├── RuleInvalid             a rule that cannot be set like this
    │   └── RuleUnknown
    ├── CollectionError             one server could not be read; carries its cause
    ├── ProbeUnreadable             bytes that are not an answer of the probe
    ├── SampleUnusable              a stored sample holds what no probe can have measured
    ├── DetectorStateUnusable       a stored state of a detector that this version cannot read
    ├── SendingFailed               a message could not be handed to the services of a route
    ├── WindowRefused               a window cannot be computed without losing what is stored
    │   └── RawGone                 because its raw samples are gone; carries the revision
    └── ArchiveError
        ├── ArchiveUnusable         the folder or bucket cannot be read or written
        ├── ArchiveDamaged          what is archived is not what the manifest says
        └── NotArchived             no such day in the archive

A message says what was tried, on what, what happened, and what the reader can do.
"""

from typing import Literal

Cause = Literal[
    "unreachable",
    "refused",
    "timeout",
    "auth_failed",
    "host_key_changed",
    "host_key_unknown",
    "no_shell",
    "unreadable",
    "unsupported",
]
"""Why a server could not be read; stored in raw.server_status.cause."""


class ResmonError(Exception):
    """Base of all errors that Resmon raises on purpose; its text is fit for a person."""


class ConfigurationInvalid(ResmonError):
    """A setting or an argument cannot be used."""


class FileUnusable(ResmonError):
    """A file that a person gave, to be read or to be written, cannot be.

    Attributes:
        path: the file.
        row: number of the line (CSV, the header is 1) or row (Parquet, from 1) that is wrong; None
            when it is not one row.
    """

    def __init__(self, message: str, *, path: str, row: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.row = row


class StateUnusable(ResmonError):
    """The state folder is of another version, of another owner, or in use by another process."""


class DatabaseError(ResmonError):
    """Something about PostgreSQL."""


class DatabaseUnreachable(DatabaseError):
    """No connection could be made."""


class DatabaseTooOld(DatabaseError):
    """The server's version is below the one that Resmon needs."""


class LockHeld(DatabaseError):
    """Another session kept a lock for longer than is waited for; the message names that session."""


class SchemaOutdated(DatabaseError):
    """Migrations are pending; names the command that applies them."""


class MigrationFailed(DatabaseError):
    """An applied file was changed, a number is missing, or the SQL of a migration failed."""


class InventoryError(ResmonError):
    """Something about organizations or servers."""


class AccessRefused(InventoryError):
    """A role that a grant would not limit, or a grant that is not there."""


class InventoryInvalid(InventoryError):
    """A value that the inventory refuses (a name, a port, a cycle in the tree)."""


class NameTaken(InventoryError):
    """An organization or server of this name exists already."""


class OrganizationUnknown(InventoryError):
    """No organization of this name."""


class OrganizationNotEmpty(InventoryError):
    """The organization still has servers or children."""


class QuotaInvalid(InventoryError):
    """A resource that cannot be limited, or a limit that cannot be."""


class RoleUnknown(InventoryError):
    """No role of this name on the PostgreSQL server."""


class ServerUnknown(InventoryError):
    """No server of this name."""


class AlertError(ResmonError):
    """Something about alerts and their rules."""


class AlertOver(AlertError):
    """The alert is resolved and cannot be changed any more."""


class AlertUnknown(AlertError):
    """No alert has this number."""


class SilenceUnknown(AlertError):
    """No silence or maintenance window that goes on has this number."""


class RuleInvalid(AlertError):
    """A level, time or option that an alert rule cannot have."""


class RuleUnknown(AlertError):
    """No alert rule of this name."""


class RouteInvalid(AlertError):
    """A route cannot be like this: its name, or a value."""


class RouteUnknown(AlertError):
    """No route of this name."""


class CollectionError(ResmonError):
    """One server could not be read.

    Attributes:
        cause: one of `Cause`.
        step: what was being done: connect, banner, handshake, host_key, auth, shell, read.
    """

    def __init__(self, message: str, *, cause: Cause, step: str) -> None:
        super().__init__(message)
        self.cause: Cause = cause
        self.step = step


class ProbeUnreadable(ResmonError):
    """Bytes that should be an answer of the probe are not one."""


class SampleUnusable(ResmonError):
    """A stored sample holds a value that no probe can have measured."""


class DetectorStateUnusable(ResmonError):
    """A stored state of a detector is damaged, or of another detector or version."""


class SendingFailed(ResmonError):
    """A message could not be handed to the services of a route."""


class WindowRefused(ResmonError):
    """A window cannot be computed without losing what is stored: its raw samples are gone."""


class WindowChanged(ResmonError):
    """A part of a window was computed for stored rows that are others now; compute all of it."""


class ArchiveError(ResmonError):
    """Something about the archive of raw samples."""


class ArchiveUnusable(ArchiveError):
    """The archive's folder or bucket cannot be reached, read or written."""


class ArchiveDamaged(ArchiveError):
    """A file of the archive is missing or is not what its manifest says.

    Attributes:
        path: the file, below the archive's URL.
    """

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class NotArchived(ArchiveError):
    """The archive holds nothing of a day."""


class RawGone(WindowRefused):
    """The raw samples of a window are gone or have become fewer; trying again helps nobody.

    Attributes:
        revision: of raw as it was refused; a later one is worth another try.
    """

    def __init__(self, message: str, *, revision: int) -> None:
        super().__init__(message)
        self.revision = revision
