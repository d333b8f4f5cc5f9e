"""The state folder (RESMON_HOME): its version and owner, verified before anything in it is used.

Belongs here: version.json. What lies in the folder is made by those who use it.
"""

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
            version = {"layout": LAYOUT_VERSION, "owner_uid": os.geteuid()}
            path.write_text(json.dumps(version) + "\n", "utf-8")
        text = path.read_text("utf-8")
    except OSError as error:
        msg = (
            f"The state folder {home} cannot be prepared: {error.strerror} ({error.filename}). "
            "Give Resmon a folder that this user can write by the variable RESMON_HOME, or correct "
            "the permissions."
        )
        raise StateUnusable(msg) from error
    try:
        found = json.loads(text)
        layout, owner = int(found["layout"]), int(found.get("owner_uid", os.geteuid()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = (
            f"{path} cannot be read as the version of the state folder. Set RESMON_HOME to another."
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
