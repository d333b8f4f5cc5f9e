"""The daily tier of file systems as an asset, and its checks.

Belongs here: when it is computed, what is reported and how it is judged. How a day is computed and
stored is in `filesystem.py`.
"""

from resmon_assets.naming import RAW_FILE_SYSTEMS
from resmon_assets.tier.filesystem import FILE_SYSTEM_DAY, refresh_file_systems
from resmon_assets.window_assets import refreshed_asset
from resmon_assets.window_checks import (
    KEEPS_SAMPLES,
    WrittenRules,
    judge_conservation,
    stored_checks,
)

RISING = [
    *(
        (f"{name}_min", f"{name}_{middle}", f"{name}_max")
        for name in ("used_bytes", "inodes_used")
        for middle in ("avg", "last")
    ),
    ("available_bytes_min", "available_bytes_last"),
    ("measured_count", "sample_count"),
]
TOGETHER = [
    tuple(f"{name}_{statistic}" for statistic in ("avg", "min", "max", "last"))
    for name in ("used_bytes", "inodes_used")
]


tier_filesystem_1day = refreshed_asset(
    FILE_SYSTEM_DAY,
    refresh_file_systems,
    sources=[RAW_FILE_SYSTEMS],
    rules=WrittenRules({KEEPS_SAMPLES: judge_conservation}),
    description=(
        "Use and inodes of every file system per UTC day: mean, lowest, highest and last value.\n\n"
        "Exact, from the rows of every five minutes, and kept for ever. Running it again changes "
        "nothing unless raw has changed."
    ),
)

FILE_SYSTEM_CHECKS = stored_checks(FILE_SYSTEM_DAY, rising=RISING, together=TOGETHER)
