"""The inventory: organizations (a tree) and servers, as records; how they are read and changed.

Belongs here: what the inventory accepts, and the statements on schema inventory. The periods of a
server (who was to be collected when) are kept by the database on each change, and a change of host
or port, or a removal, drops its pinned host key there. Asks no clock.
"""

import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row

from resmon_resources.errors import (
    InventoryInvalid,
    NameTaken,
    OrganizationNotEmpty,
    OrganizationUnknown,
    ServerUnknown,
)
from resmon_resources.postgres_connection import load_query
from resmon_resources.proxy_jump import format_proxy_jump, parse_proxy_jump
from resmon_resources.words import counted, suggestion

Transport = Literal["ssh", "local"]
ServerState = Literal["active", "paused", "offline", "deleted"]

DEFAULT_ORGANIZATION = "default"
"""Made when the first server needs it."""

NONE = "none"
"""Given for a user, an identity file or jump hosts: no value, as ssh_config has it."""

LOCAL_HOST = "localhost"
DEFAULT_PORT = 22
DEFAULT_INTERVAL_SECONDS = 30

_ORGANIZATION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SERVER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=/-]{0,62}")
_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9._:%-]{0,254}")
_USER = re.compile(r"[^\s\-:@/\x00-\x1f\x7f][^\s:/\x00-\x1f\x7f]{0,254}")
_HOST_WITH_PORT = re.compile(r"([^:\[\]]+|\[.+\]):(\d+)")
_MAXIMUM_PORT = 65535
_INTERVAL_SECONDS = (5, 3600)


@dataclass(frozen=True, slots=True)
class Organization:
    """One node of the tree of organizations.

    Attributes:
        organization_id: identity, never reused.
        name: unique.
        parent_id: the organization above; None at the root.
        path: names from the root down to this one; its length less one is the depth.
        server_count: servers directly in it, removed ones not counted.
    """

    organization_id: int
    name: str
    parent_id: int | None
    path: tuple[str, ...]
    server_count: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", tuple(self.path))

    @property
    def depth(self) -> int:
        """Levels below the root."""
        return len(self.path) - 1


@dataclass(frozen=True, slots=True)
class Server:
    """One server of the inventory.

    Attributes:
        server_id: identity, never reused.
        name: unique among the servers that are not removed.
        organization_id: its organization now.
        organization_name: that organization's name.
        transport: `ssh`, or `local` for the machine Resmon runs on.
        host: name or address to connect to.
        port: TCP port of its sshd.
        user_name: SSH user; None means the user Resmon runs as.
        identity_file: private key on the collecting machine; None: agent and usual files.
        tags: sorted.
        state: `active` is collected, `paused` and `offline` not; of `deleted` only history stays.
        interval_seconds: seconds between two scheduled instants.
        changed_at: last change, aware UTC.
        proxy_jump: jump hosts in order, `[user@]host[:port][,...]`; None means none.
        host_key: the pinned host key as `type base64`; None means that nothing is pinned.
        exec_since: when it was last found to keep no session open, aware UTC; None means that it
            keeps one, or was not tried yet. Not compared, as nobody has changed the server.
        exec_reason: what happened to that session.
    """

    server_id: int
    name: str
    organization_id: int
    organization_name: str
    transport: Transport
    host: str
    port: int
    user_name: str | None
    identity_file: str | None
    tags: tuple[str, ...]
    state: ServerState
    interval_seconds: int
    changed_at: datetime
    proxy_jump: str | None = None
    host_key: str | None = None
    exec_since: datetime | None = field(default=None, compare=False)
    exec_reason: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tags", tuple(self.tags))


def add_organization(
    connection: psycopg.Connection[Any], name: str, *, now: datetime, parent: str | None = None
) -> Organization:
    """Add an organization, below `parent` or at the root.

    Raises:
        InventoryInvalid: the name is not allowed.
        NameTaken: an organization of this name exists.
        OrganizationUnknown: there is no organization `parent`.
    """
    check_organization_name(name)
    with connection.transaction():
        parent_id = (
            None if parent is None else find_organization(connection, parent).organization_id
        )
        row = connection.execute(
            load_query("inventory", "insert_organization"),
            {"name": name, "parent_id": parent_id, "now": now},
        ).fetchone()
        if row is None:
            msg = (
                f"Cannot add the organization {name}: there is one of this name already. "
                "Choose another name, or see `resmon org list`."
            )
            raise NameTaken(msg)
        return find_organization(connection, name)


def list_organizations(connection: psycopg.Connection[Any]) -> list[Organization]:
    """All organizations as a tree: a parent before its children, siblings by name."""
    with (
        connection.transaction(),
        connection.cursor(row_factory=class_row(Organization)) as cursor,
    ):
        return cursor.execute(load_query("inventory", "select_organizations")).fetchall()


def find_organization(connection: psycopg.Connection[Any], name: str) -> Organization:
    """The organization of this name.

    Raises:
        OrganizationUnknown: there is none; suggests close names.
    """
    organizations = list_organizations(connection)
    for organization in organizations:
        if organization.name == name:
            return organization
    hint = suggestion(name, [organization.name for organization in organizations], most=3)
    msg = f"There is no organization {name!r}.{hint} `resmon org list` shows all of them."
    raise OrganizationUnknown(msg)


def move_organization(
    connection: psycopg.Connection[Any], name: str, *, parent: str | None, now: datetime
) -> Organization:
    """Put an organization, with all below it, under `parent`; None makes it a root.

    From `now` on: the database keeps where it was before, and samples taken until then go on
    counting to the organizations above it at that time.

    Raises:
        InventoryInvalid: `parent` is the organization itself or lies below it.
        OrganizationUnknown: one of the two does not exist.
    """
    with connection.transaction():
        # Two moves at the same time could close a cycle that neither sees.
        connection.execute("lock table inventory.organizations in share row exclusive mode")
        moved = find_organization(connection, name)
        above = None if parent is None else find_organization(connection, parent)
        if above is not None and name in above.path:
            where = "itself" if above.name == name else f"{above.name}, which lies below it"
            msg = (
                f"Cannot move the organization {name} under {where}: the tree would become a "
                "circle. Move that one elsewhere first, or choose another parent."
            )
            raise InventoryInvalid(msg)
        connection.execute(
            load_query("inventory", "update_organization_parent"),
            {
                "organization_id": moved.organization_id,
                "parent_id": None if above is None else above.organization_id,
                "now": now,
            },
        )
        return find_organization(connection, name)


def remove_organization(connection: psycopg.Connection[Any], name: str) -> None:
    """Remove an organization that has no servers, no children and no history.

    Raises:
        OrganizationNotEmpty: something still belongs to it; says what.
        OrganizationUnknown: there is none of this name.
    """
    with connection.transaction():
        organization = find_organization(connection, name)
        key = {"organization_id": organization.organization_id}
        removed = connection.execute(load_query("inventory", "delete_organization"), key).fetchone()
        if removed is not None:
            return
        row = connection.execute(load_query("inventory", "select_organization_use"), key).fetchone()
    children, servers = row or (0, 0)
    if children or servers:
        msg = (
            f"Cannot remove the organization {name}: it has {counted(servers, 'server')} and "
            f"{counted(children, 'organization')} below it. Remove or move these first "
            f"(`resmon server list --organization {name}`, `resmon org move`)."
        )
    else:
        msg = (
            f"Cannot remove the organization {name}: servers or organizations that were removed or "
            "moved elsewhere still have history in it. It may stay; an organization without "
            "servers costs nothing."
        )
    raise OrganizationNotEmpty(msg)


def add_server(
    connection: psycopg.Connection[Any],
    name: str,
    *,
    host: str,
    now: datetime,
    organization: str = DEFAULT_ORGANIZATION,
    transport: Transport = "ssh",
    port: int = DEFAULT_PORT,
    user_name: str | None = None,
    identity_file: str | None = None,
    proxy_jump: str | None = None,
    tags: Iterable[str] = (),
    interval_seconds: int = DEFAULT_INTERVAL_SECONDS,
) -> Server:
    """Add a server; it is active from `now` on. The organization `default` is made when missing.

    Raises:
        InventoryInvalid: a value that cannot be; says what is allowed.
        NameTaken: a server of this name exists.
        OrganizationUnknown: there is no such organization.
    """
    _check_server_name(name)
    kept_tags = _check_settings(
        host=host, port=port, user_name=user_name, tags=tags, interval_seconds=interval_seconds
    )
    with connection.transaction():
        if organization == DEFAULT_ORGANIZATION:
            connection.execute(
                load_query("inventory", "insert_organization"),
                {"name": organization, "parent_id": None, "now": now},
            )
        row = connection.execute(
            load_query("inventory", "insert_server"),
            {
                "organization_id": find_organization(connection, organization).organization_id,
                "name": name,
                "transport": transport,
                "host": host,
                "port": port,
                "user_name": user_name,
                "identity_file": identity_file,
                "proxy_jump": _checked_proxy_jump(proxy_jump),
                "tags": list(kept_tags or ()),
                "interval_seconds": interval_seconds,
                "now": now,
            },
        ).fetchone()
        if row is None:
            msg = (
                f"Cannot add the server {name}: there is one of this name already. Choose another "
                f"name, or see it with `resmon server show {name}`."
            )
            raise NameTaken(msg)
        return find_server(connection, name)


def list_servers(
    connection: psycopg.Connection[Any], *, include_deleted: bool = False
) -> list[Server]:
    """All servers by name."""
    return _select_servers(connection, states=None if include_deleted else _PRESENT)


def inventory_fingerprint(connection: psycopg.Connection[Any]) -> tuple[int, int]:
    """Equal as long as nothing that `list_servers` tells of any server has changed.

    Reading 10,000 servers costs a collector ten times what this does, and they hardly change.
    """
    with connection.transaction():
        row = connection.execute(load_query("inventory", "fingerprint")).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def find_servers(
    connection: psycopg.Connection[Any],
    *,
    names: Sequence[str] = (),
    tags: Sequence[str] = (),
    organization: str | None = None,
    states: Sequence[ServerState] | None = None,
) -> list[Server]:
    """Servers that meet every condition given, by name; without any condition all of them.

    Args:
        connection: an open connection.
        names: these servers; removed ones are not found.
        tags: servers that carry all of these tags.
        organization: servers of this organization and of those below it.
        states: servers in one of these states; None means all but removed ones.

    Raises:
        ServerUnknown: a name that no server has; suggests close names.
        OrganizationUnknown: there is no such organization.
    """
    with connection.transaction():
        if organization is not None:
            find_organization(connection, organization)
        if names:
            found = _select_servers(connection, names=names, states=_PRESENT)
            missing = set(names) - {server.name for server in found}
            if missing:
                known = [server.name for server in list_servers(connection)]
                raise ServerUnknown(_unknown_servers(sorted(missing, key=names.index), known))
        return _select_servers(
            connection,
            names=names,
            tags=tags,
            organization=organization,
            states=_PRESENT if states is None else states,
        )


def find_server(connection: psycopg.Connection[Any], name: str) -> Server:
    """The server of this name.

    Raises:
        ServerUnknown: there is none; suggests close names.
    """
    return find_servers(connection, names=[name])[0]


def set_server_state(
    connection: psycopg.Connection[Any], name: str, *, state: ServerState, now: datetime
) -> Server:
    """Put a server into a state; when it is in it already, nothing changes. `deleted` is for good.

    Raises:
        ServerUnknown: there is none of this name, or it is removed.
    """
    with connection.transaction():
        server = find_server(connection, name)
        return _update(connection, server, now=now, state=state)


def remove_server(connection: psycopg.Connection[Any], name: str, *, now: datetime) -> Server:
    """Take a server out of the inventory: its history stays, its name becomes free.

    Raises:
        ServerUnknown: there is none of this name.
    """
    return set_server_state(connection, name, state="deleted", now=now)


def update_server(
    connection: psycopg.Connection[Any],
    name: str,
    *,
    now: datetime,
    organization: str | None = None,
    host: str | None = None,
    port: int | None = None,
    user_name: str | None = None,
    identity_file: str | None = None,
    proxy_jump: str | None = None,
    tags: Iterable[str] | None = None,
    interval_seconds: int | None = None,
) -> Server:
    """Change what is given of a server; None leaves a value as it is.

    It is tried again whether the server keeps a session open.

    `none` takes a value away: as user_name it means the user Resmon runs as, as identity_file the
    agent and the usual files, as proxy_jump a direct connection. An empty list means no tags.

    Raises:
        InventoryInvalid: a value that cannot be; says what is allowed.
        ServerUnknown: there is none of this name.
        OrganizationUnknown: there is no such organization.
    """
    kept_tags = _check_settings(
        host=host, port=port, user_name=user_name, tags=tags, interval_seconds=interval_seconds
    )
    with connection.transaction():
        server = find_server(connection, name)
        above = None if organization is None else find_organization(connection, organization)
        return _update(
            connection,
            server,
            now=now,
            organization_id=None if above is None else above.organization_id,
            host=host,
            port=port,
            user_name=user_name,
            identity_file=identity_file,
            proxy_jump=_checked_proxy_jump(proxy_jump),
            tags=None if kept_tags is None else list(kept_tags),
            interval_seconds=interval_seconds,
        )


def ensure_local_server(
    connection: psycopg.Connection[Any], *, now: datetime, hostname: str | None = None
) -> Server | None:
    """Add this machine, with transport local, to an inventory that never had a server.

    Args:
        connection: an open connection.
        now: aware UTC.
        hostname: default: what the operating system says.

    Returns:
        The new server; None when there were servers already (removed ones count).
    """
    name = server_name_from(socket.gethostname() if hostname is None else hostname)
    with connection.transaction():
        # Two first starts at the same time must not add the machine twice.
        connection.execute("lock table inventory.servers in share row exclusive mode")
        row = connection.execute(load_query("inventory", "has_servers")).fetchone()
        if row is None or row[0]:
            return None
        return add_server(connection, name, host=LOCAL_HOST, transport="local", now=now)


def server_name_from(hostname: str) -> str:
    """A name that the inventory accepts, as close to `hostname` as possible."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", hostname.strip()).strip("._-")
    return cleaned[:128] or "this-machine"


def check_organization_name(name: str) -> None:
    """Refuse a name that the inventory does not accept.

    Raises:
        InventoryInvalid: says what is allowed.
    """
    if not _ORGANIZATION_NAME.fullmatch(name):
        msg = (
            f"{name!r} cannot be the name of an organization: 1 to 63 letters, digits, dots, "
            "dashes or underscores, the first a letter or digit."
        )
        raise InventoryInvalid(msg)


_PRESENT: tuple[ServerState, ...] = ("active", "paused", "offline")


def _check_server_name(name: str) -> None:
    """Refuse a name that the inventory does not accept."""
    if not _SERVER_NAME.fullmatch(name):
        msg = (
            f"{name!r} cannot be the name of a server: 1 to 128 letters, digits, dots, dashes or "
            "underscores, the first a letter or digit."
        )
        raise InventoryInvalid(msg)


def _check_settings(
    *,
    host: str | None,
    port: int | None,
    user_name: str | None,
    tags: Iterable[str] | None,
    interval_seconds: int | None,
) -> tuple[str, ...] | None:
    """Refuse values that cannot be; return the tags sorted and once each."""
    if host is not None:
        _check_host(host)
    if port is not None and not 1 <= port <= _MAXIMUM_PORT:
        msg = f"{port} cannot be a port: 1 to {_MAXIMUM_PORT}, usually 22."
        raise InventoryInvalid(msg)
    if user_name is not None and not _USER.fullmatch(user_name):
        msg = (
            f"{user_name!r} cannot be a user: no spaces, colons or slashes, and no dash or @ "
            "first. Leave it out to connect as the user Resmon runs as."
        )
        raise InventoryInvalid(msg)
    low, high = _INTERVAL_SECONDS
    if interval_seconds is not None and not low <= interval_seconds <= high:
        msg = f"{interval_seconds} cannot be the interval: {low} to {high} seconds, usually 30."
        raise InventoryInvalid(msg)
    if tags is None:
        return None
    kept = tuple(sorted(set(tags)))
    for tag in kept:
        if not _TAG.fullmatch(tag):
            msg = (
                f"{tag!r} cannot be a tag: 1 to 63 letters, digits or . _ : = / -, the first "
                "a letter or digit."
            )
            raise InventoryInvalid(msg)
    return kept


def _checked_proxy_jump(text: str | None) -> str | None:
    """The jump hosts in their usual form; refuses what cannot be."""
    if text is None:
        return None
    try:
        hops = parse_proxy_jump(text)
    except ValueError as error:
        msg = f"The jump hosts cannot be used: {error}. Example: jump@bastion.example.org:2222"
        raise InventoryInvalid(msg) from error
    for hop in hops:
        _check_settings(
            host=hop.host, port=hop.port, user_name=hop.user_name, tags=None, interval_seconds=None
        )
    return format_proxy_jump(hops)


def _check_host(host: str) -> None:
    """Refuse what cannot be a host, and say where its parts belong."""
    if _HOST.fullmatch(host) and not _HOST_WITH_PORT.fullmatch(host):
        return
    with_port = _HOST_WITH_PORT.fullmatch(host)
    if "@" in host:
        user, _, rest = host.partition("@")
        advice = f"give the user apart: host {rest!r}, user {user!r} (--host, --user)"
    elif with_port:
        bare = with_port[1].strip("[]")
        advice = f"give the port apart: host {bare!r}, port {with_port[2]} (--host, --port)"
    elif host.startswith("[") and host.endswith("]"):
        advice = f"write an IPv6 address without brackets: {host[1:-1]}"
    else:
        advice = "a host name, an IPv4 or an IPv6 address is expected, without spaces or slashes"
    msg = f"{host!r} cannot be a host: {advice}."
    raise InventoryInvalid(msg)


def _select_servers(
    connection: psycopg.Connection[Any],
    *,
    names: Sequence[str] = (),
    tags: Sequence[str] = (),
    organization: str | None = None,
    states: Sequence[ServerState] | None,
) -> list[Server]:
    """Run the one query on servers."""
    with connection.transaction(), connection.cursor(row_factory=class_row(Server)) as cursor:
        return cursor.execute(
            load_query("inventory", "select_servers"),
            {
                "names": list(names) or None,
                "tags": list(tags) or None,
                "organization": organization,
                "states": None if states is None else list(states),
            },
        ).fetchall()


def _update(
    connection: psycopg.Connection[Any], server: Server, *, now: datetime, **changes: object
) -> Server:
    """Write the changes and read the server back, also when it is removed by them."""
    unchanged = dict.fromkeys(
        (
            *("state", "organization_id", "host", "port"),
            *("user_name", "identity_file", "proxy_jump", "tags", "interval_seconds"),
        )
    )
    connection.execute(
        load_query("ops", "delete_server_channels"), {"server_ids": [server.server_id]}
    )
    connection.execute(
        load_query("inventory", "update_server"),
        unchanged | changes | {"server_id": server.server_id, "now": now},
    )
    same_name = _select_servers(connection, names=[server.name], states=None)
    return next(found for found in same_name if found.server_id == server.server_id)


def _unknown_servers(missing: Sequence[str], known: Iterable[str]) -> str:
    """Message about names that no server has."""
    listed = ", ".join(repr(name) for name in missing)
    noun = "server" if len(missing) == 1 else "servers"
    hint = suggestion(missing, known, most=3)
    return f"There is no {noun} {listed}.{hint} `resmon server list` shows all of them."
