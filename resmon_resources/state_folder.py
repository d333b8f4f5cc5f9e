"""The state folder (RESMON_HOME): its version and owner, verified before anything in it is used.

Belongs here: version.json. What lies in the folder is made by those who use it.
"""

import errno
import json
import os
from pathlib import Path

from resmon_resources.errors import StateUnusable

LAYOUT_VERSION = 1
"""Grows when a release puts things elsewhere in the state folder."""


def claim_state_folder(home: Path) -> None:
    """Make the folder, and compare its version and owner with ours; a new one gets its version.

    Args:
        home: RESMON_HOME, absolute.

    Raises:
        StateUnusable: another layout or owner, a version file that is not one of ours, or a folder
            that cannot be made or written.
    """
    path = home / "version.json"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _write_version(path)
        text = path.read_text("utf-8")
    except OSError as error:
        what = f"{error.strerror} ({error.filename})" if error.filename else error.strerror
        remedy = (
            "Make room there"
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else "Correct the permissions"
        )
        msg = (
            f"The state folder {home} cannot be prepared: {what}. {remedy}, or give Resmon another "
            "folder that this user can write by the variable RESMON_HOME."
        )
        raise StateUnusable(msg) from error
    try:
        found = json.loads(text)
        layout, owner = int(found["layout"]), int(found.get("owner_uid", os.geteuid()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = (
            f"{path} cannot be read as the version of the state folder. If the folder is one of "
            f"Resmon's, write into it: {_version_text()}; else set RESMON_HOME to another."
        )
        raise StateUnusable(msg) from error
    if layout != LAYOUT_VERSION:
        msg = (
            f"The state folder {home} has layout {layout}; this release of Resmon uses layout "
            f"{LAYOUT_VERSION}. Use the release that wrote it, or set RESMON_HOME to a new folder."
        )
        raise StateUnusable(msg)
    if owner != os.geteuid():
        msg = (
            f"The state folder {home} belongs to Resmon started by uid {owner}, and you are uid "
            f"{os.geteuid()}. Start Resmon as that user, or set RESMON_HOME to another folder."
        )
        raise StateUnusable(msg)


def _version_text() -> str:
    """What the file says of a folder that is ours."""
    return json.dumps({"layout": LAYOUT_VERSION, "owner_uid": os.geteuid()})


def _write_version(path: Path) -> None:
    """Write the file whole or not at all: an empty one, left by a full disk, bars the folder."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.write(_version_text() + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
