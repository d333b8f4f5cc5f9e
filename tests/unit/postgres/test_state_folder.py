"""The state folder on disks that are full or were full."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from resmon_resources.errors import StateUnusable
from resmon_resources.state_folder import LAYOUT_VERSION, claim_state_folder

FULL_DISK = """
import resource, sys
from pathlib import Path
from resmon_resources.state_folder import claim_state_folder
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
claim_state_folder(Path(sys.argv[1]))
"""
"""No byte can be written: the file is made, and stays empty, as on a full disk."""


def test_a_folder_on_a_full_disk_can_be_used_once_there_is_room(tmp_path: Path) -> None:
    """Would let back: an empty version.json, which bars the folder for ever."""
    home = tmp_path / "state"
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(home)], capture_output=True, text=True, check=False
    )
    assert "StateUnusable" in ended.stderr
    assert "(None)" not in ended.stderr
    assert list(home.iterdir()) == []
    claim_state_folder(home)
    assert json.loads((home / "version.json").read_text("utf-8"))["layout"] == LAYOUT_VERSION
    assert [one.name for one in home.iterdir()] == ["version.json"]


def test_a_damaged_version_says_what_belongs_there(tmp_path: Path) -> None:
    """Would let back: a folder with months of data, and no word of how to open it again."""
    (tmp_path / "version.json").write_text("")
    with pytest.raises(StateUnusable, match=r"write into it: (.*); else") as caught:
        claim_state_folder(tmp_path)
    (tmp_path / "version.json").write_text(
        str(caught.value).partition("write into it: ")[2].partition("; else")[0]
    )
    claim_state_folder(tmp_path)
