"""Settings: everything that Resmon takes from the environment, read and validated in one place.

Belongs here: names, defaults and checks of the RESMON_* variables. Opens no file, no socket, no
database. Nothing is read at import; callers ask `load_settings()` when they need it.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from resmon_resources.errors import ConfigurationInvalid

PROJECT_ROOT = Path(__file__).resolve().parent.parent
"""Folder that holds sql/, workspace.yaml and dagster.yaml beside the packages."""

ARCHIVE_SCHEMES = ("file", "s3", "gs", "az", "memory")
"""Kinds of stores that the archive may lie in."""

HostKeyMode = Literal["known_hosts", "first-use"]
"""What becomes of a server whose host key nobody vouches for: refused, or pinned at first use."""


@dataclass(frozen=True)
class Settings:
    """What the environment says.

    Attributes:
        home: state folder (RESMON_HOME, default `.resmon` beside the packages), absolute.
        postgres_dsn: URL of an external PostgreSQL (RESMON_POSTGRES_DSN); None means the embedded
            one.
        dagster_dsn: URL of Dagster's own database on an external server
            (RESMON_DAGSTER_POSTGRES_DSN); None means the data database's name with `_dagster`
            appended, on the same server.
        postgres_os_user: OS user that the embedded PostgreSQL runs as when Resmon is started by
            root (RESMON_POSTGRES_OS_USER, default `resmon`).
        sql_path: folder of migrations, repeatable files and queries (RESMON_SQL_PATH).
        known_hosts: OpenSSH known_hosts file (RESMON_KNOWN_HOSTS, default ~/.ssh/known_hosts).
        shards: collector runs per hour (RESMON_COLLECT_SHARDS, default 1).
        host_keys: `known_hosts` refuses a server of which nothing is known, `first-use` pins its
            first key (RESMON_HOST_KEYS, default `known_hosts`).
        spool_bytes: bound of the samples on disk while PostgreSQL is away (RESMON_SPOOL_MB, default
            1024: more than eight hours of 10,000 servers), over all shards.
        archive_url: where raw samples are archived (RESMON_ARCHIVE_URL, default the folder
            `archive` in the state folder); file, s3, gs, az or memory. Holds no credentials.
        ui_url: where those who read alerts reach Dagster's UI (RESMON_UI_URL, default
            http://127.0.0.1:3000), without a slash at its end.
        templates_path: folder of templates of one's own for messages (RESMON_TEMPLATES); None:
            there are none.
        heartbeat_url: called every minute by `resmon up` while all is well (RESMON_HEARTBEAT_URL,
            a dead man's switch); None: nobody is called. Holds a token as a rule: never shown.
        watchdog_target: where the URLs are that `resmon up` sends to when the daemon, the database
            or the collector is down: `env:RESMON_WATCHDOG_URL`, or `file:` with the path of
            RESMON_WATCHDOG_URL_FILE; None: nobody is told.
    """

    home: Path
    postgres_dsn: str | None
    dagster_dsn: str | None
    postgres_os_user: str
    sql_path: Path
    known_hosts: Path
    shards: int
    host_keys: HostKeyMode
    spool_bytes: int
    archive_url: str
    ui_url: str
    templates_path: Path | None
    heartbeat_url: str | None = field(repr=False)
    watchdog_target: str | None

    @property
    def trusts_first_use(self) -> bool:
        """Whether the first key of a server of which nothing is known is pinned."""
        return self.host_keys == "first-use"

    @property
    def spool_path(self) -> Path:
        """Folder of the samples that wait for PostgreSQL."""
        return self.home / "spool"

    @property
    def is_embedded(self) -> bool:
        """Whether Resmon starts and owns its PostgreSQL."""
        return self.postgres_dsn is None

    @property
    def home_digest(self) -> str:
        """Eight hex digits that tell one state folder from another in short paths."""
        return hashlib.blake2b(os.fsencode(self.home), digest_size=4).hexdigest()


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environment` (default: the process's own).

    Raises:
        ConfigurationInvalid: a value cannot be used; names the variable and what is allowed.
    """
    env = os.environ if environment is None else environment
    dsn = env.get("RESMON_POSTGRES_DSN") or None
    dagster_dsn = env.get("RESMON_DAGSTER_POSTGRES_DSN") or None
    for name, value in (("RESMON_POSTGRES_DSN", dsn), ("RESMON_DAGSTER_POSTGRES_DSN", dagster_dsn)):
        if value is not None and not value.startswith(("postgresql://", "postgres://")):
            msg = (
                f"{name} is not a PostgreSQL URL. Give it the form "
                "postgresql://user:password@host:5432/database, or unset it to use the embedded "
                "server."
            )
            raise ConfigurationInvalid(msg)
    home = Path(env.get("RESMON_HOME") or PROJECT_ROOT / ".resmon").expanduser().resolve()
    return Settings(
        home=home,
        postgres_dsn=dsn,
        dagster_dsn=dagster_dsn,
        postgres_os_user=env.get("RESMON_POSTGRES_OS_USER") or "resmon",
        sql_path=Path(env.get("RESMON_SQL_PATH") or PROJECT_ROOT / "sql").expanduser().resolve(),
        known_hosts=Path(env.get("RESMON_KNOWN_HOSTS") or "~/.ssh/known_hosts").expanduser(),
        shards=_positive_integer(env, "RESMON_COLLECT_SHARDS", default=1, maximum=64),
        host_keys=_host_key_mode(env),
        spool_bytes=_positive_integer(env, "RESMON_SPOOL_MB", default=1024, maximum=2**20) * 2**20,
        archive_url=_archive_url(env, home),
        ui_url=_web_url(env, "RESMON_UI_URL") or "http://127.0.0.1:3000",
        templates_path=_optional_path(env, "RESMON_TEMPLATES"),
        heartbeat_url=_web_url(env, "RESMON_HEARTBEAT_URL", may_hold_secret=True),
        watchdog_target=_watchdog_target(env),
    )


def _optional_path(env: Mapping[str, str], name: str) -> Path | None:
    """A path, absolute; None when the variable is not set."""
    return Path(env[name]).expanduser().resolve() if env.get(name) else None


def _web_url(env: Mapping[str, str], name: str, *, may_hold_secret: bool = False) -> str | None:
    """An http or https URL without a slash at its end; None when the variable is not set."""
    text = (env.get(name) or "").strip()
    if not text:
        return None
    try:
        parts = urlsplit(text)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, brackets without end
        is_usable = False
    is_usable = is_usable and not any(character.isspace() for character in text)
    if not is_usable or ("@" in text and not may_hold_secret):
        # Not quoted: it may hold a secret.
        msg = (
            f"{name} is not a URL that can be used. Give it the form https://host:port/path"
            f"{'' if may_hold_secret else ' without user and password'}, or unset it."
        )
        raise ConfigurationInvalid(msg)
    return text if may_hold_secret else text.rstrip("/")


def _watchdog_target(env: Mapping[str, str]) -> str | None:
    """RESMON_WATCHDOG_URL or RESMON_WATCHDOG_URL_FILE, as the target of a route."""
    text, file = env.get("RESMON_WATCHDOG_URL"), env.get("RESMON_WATCHDOG_URL_FILE")
    if text and file:
        msg = "RESMON_WATCHDOG_URL and RESMON_WATCHDOG_URL_FILE are both set. Unset one of them."
        raise ConfigurationInvalid(msg)
    if text:
        return "env:RESMON_WATCHDOG_URL"
    return f"file:{Path(file).expanduser().resolve()}" if file else None


def _host_key_mode(env: Mapping[str, str]) -> HostKeyMode:
    """RESMON_HOST_KEYS."""
    text = env.get("RESMON_HOST_KEYS") or "known_hosts"
    for mode in get_args(HostKeyMode):
        if text == mode:
            return mode  # type: ignore[no-any-return] # get_args knows no types
    msg = (
        f"RESMON_HOST_KEYS is {text!r}. Set it to known_hosts (a server whose host key is not "
        "known is refused) or first-use (its first key is pinned), or unset it for known_hosts. "
        "Host keys are never ignored."
    )
    raise ConfigurationInvalid(msg)


def _archive_url(env: Mapping[str, str], home: Path) -> str:
    """RESMON_ARCHIVE_URL; a path becomes a file URL."""
    text = env.get("RESMON_ARCHIVE_URL") or str(home / "archive")
    if "://" not in text:
        return Path(text).expanduser().resolve().as_uri()
    parts = urlsplit(text)
    if parts.scheme not in ARCHIVE_SCHEMES:
        msg = (
            f"RESMON_ARCHIVE_URL has the scheme {parts.scheme}. Give it a folder, or a URL that "
            f"begins with one of {', '.join(f'{scheme}://' for scheme in ARCHIVE_SCHEMES)}."
        )
        raise ConfigurationInvalid(msg)
    if "@" in parts.netloc or parts.query:
        # Not quoted: it may hold a password.
        msg = (
            "RESMON_ARCHIVE_URL holds a user, a password or parameters. Leave them out: "
            "credentials come from the environment (AWS_ACCESS_KEY_ID and the like), see "
            "docs/sql.md."
        )
        raise ConfigurationInvalid(msg)
    return text.rstrip("/")


def _positive_integer(env: Mapping[str, str], name: str, *, default: int, maximum: int) -> int:
    """Integer variable in 1..maximum."""
    text = env.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= maximum:
        msg = f"{name} is {text!r}. Give it a whole number from 1 to {maximum}, or unset it."
        raise ConfigurationInvalid(msg)
    return int(text)
