"""Access: which role of PostgreSQL may read which organizations, and what speaks against it.

Belongs here: what may be granted to whom, the statements on inventory.access_grant, and the look at
a role. That a role sees no more is row-level security's matter (sql/repeatable/grants). Asks no
clock.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from resmon_resources.errors import AccessRefused, RoleUnknown
from resmon_resources.inventory import Organization, find_organization, list_organizations
from resmon_resources.postgres_connection import load_query
from resmon_resources.words import listed, suggestion

READER = "resmon_reader"
_OUR_ROLES = ("resmon_owner", "resmon_writer", READER)
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_NAMED = 3
"""Names that a message lists before it counts the rest."""


@dataclass(frozen=True, slots=True)
class AccessGrant:
    """A role may read an organization with all below it.

    Attributes:
        role_name: name of the role.
        organization_id: the organization; None: everything.
        granted_at: aware UTC.
        granted_by: the role that granted it.
        role_exists: False when the role was dropped or renamed since.
    """

    role_name: str
    organization_id: int | None
    granted_at: datetime
    granted_by: str
    role_exists: bool


@dataclass(frozen=True, slots=True)
class Role:
    """What PostgreSQL says of a role.

    Attributes:
        role_name: its name.
        is_login: it may log in.
        is_superuser: nothing limits it.
        is_above_policies: it has BYPASSRLS.
        has_all_connections: it may open as many as the server has.
        is_reader: it has the rights of resmon_reader without SET ROLE.
        platform_roles: roles that see every row, and that it is a member of.
        predefined_roles: PostgreSQL's own roles (pg_...) that it is a member of.
        granted_roles: other roles with grants that it can turn into.
        has_reader: the role resmon_reader exists.
        has_policies: the policies for resmon_reader are made.
    """

    role_name: str
    is_login: bool
    is_superuser: bool
    is_above_policies: bool
    has_all_connections: bool
    is_reader: bool
    platform_roles: Sequence[str]
    predefined_roles: Sequence[str]
    granted_roles: Sequence[str]
    has_reader: bool
    has_policies: bool


@dataclass(frozen=True, slots=True)
class Reach:
    """Something that a role may do beyond reading its rows.

    Attributes:
        name: table, view, schema or function.
        right_name: read, write, create or call.
    """

    name: str
    right_name: str


@dataclass(frozen=True, slots=True)
class RoleAccess:
    """What a role sees, and what is wrong with it.

    Attributes:
        role_name: its name.
        organizations: those it reads, in the order of the tree.
        sees_everything: it was granted everything; organizations that come later too.
        problems: sentences: it may see or do more than it was granted.
        notes: sentences: what else is to be known.
    """

    role_name: str
    organizations: tuple[Organization, ...]
    sees_everything: bool
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def server_count(self) -> int:
        """Servers in these organizations, removed ones not counted."""
        return sum(one.server_count for one in self.organizations)


def grant_access(
    connection: psycopg.Connection[Any], role_name: str, *, organization: str | None, now: datetime
) -> bool:
    """Let a role read an organization with all below it, None: everything; False: it may already.

    Raises:
        RoleUnknown: there is no such role; says how to make it.
        AccessRefused: the role is not one that row-level security limits; says what to run.
        OrganizationUnknown: there is no such organization.
    """
    with connection.transaction():
        _check_may_be_granted(find_role(connection, role_name))
        row = connection.execute(
            load_query("inventory", "insert_access_grant"),
            {
                "role_name": role_name,
                "organization_id": None
                if organization is None
                else find_organization(connection, organization).organization_id,
                "now": now,
            },
        ).fetchone()
    return row is not None


def revoke_access(
    connection: psycopg.Connection[Any], role_name: str, *, organization: str | None
) -> list[int | None]:
    """Take a grant away, None: all that a role has; returns the organizations of what went.

    The role need not exist any more.

    Raises:
        AccessRefused: it has no such grant; says which it has.
        OrganizationUnknown: there is no such organization.
    """
    with connection.transaction():
        rows = connection.execute(
            load_query("inventory", "delete_access_grants"),
            {
                "role_name": role_name,
                "is_all": organization is None,
                "organization_id": None
                if organization is None
                else find_organization(connection, organization).organization_id,
            },
        ).fetchall()
        if not rows:
            raise AccessRefused(_nothing_to_revoke(connection, role_name, organization))
    return [organization_id for (organization_id,) in rows]


def list_grants(
    connection: psycopg.Connection[Any], *, role_name: str | None = None
) -> list[AccessGrant]:
    """All grants, or those of a role; by role, those of everything first."""
    with (
        connection.transaction(),
        connection.cursor(row_factory=class_row(AccessGrant)) as cursor,
    ):
        return cursor.execute(
            load_query("inventory", "select_access_grants"), {"role_name": role_name}
        ).fetchall()


def find_role(connection: psycopg.Connection[Any], role_name: str) -> Role:
    """The role of this name.

    Raises:
        RoleUnknown: there is none; says how to make it, and suggests close names.
    """
    with connection.cursor(row_factory=class_row(Role)) as cursor:
        role = cursor.execute(
            load_query("inventory", "select_role"), {"role_name": role_name}
        ).fetchone()
    if role is not None:
        return role
    known = [name for (name,) in connection.execute("select rolname::text from pg_roles")]
    hint = suggestion(role_name, known)
    msg = (
        f"There is no role {role_name!r} on this server.{hint} Make one as a superuser: "
        f"create role {quoted(role_name)} login in role {READER}; and give it a password with "
        f"psql's \\password."
    )
    raise RoleUnknown(msg)


def check_access(
    connection: psycopg.Connection[Any], role_name: str, *, is_embedded: bool
) -> RoleAccess:
    """What a role sees by its grants, and what lets it see or do more.

    Raises:
        RoleUnknown: there is no such role.
    """
    with connection.transaction():
        role = find_role(connection, role_name)
        key = {"role_name": role_name}
        grants = list_grants(connection, role_name=role_name)
        rows = connection.execute(load_query("inventory", "select_access"), key).fetchall()
        seen = {organization_id for (organization_id,) in rows}
        with connection.cursor(row_factory=class_row(Reach)) as cursor:
            reach = cursor.execute(load_query("inventory", "select_role_reach"), key).fetchall()
        organizations = list_organizations(connection)
    return RoleAccess(
        role_name=role_name,
        organizations=tuple(one for one in organizations if one.organization_id in seen),
        sees_everything=any(one.organization_id is None for one in grants),
        problems=tuple(problems_of(role, reach)),
        notes=tuple(notes_of(role, has_grant=bool(grants), is_embedded=is_embedded)),
    )


def problems_of(role: Role, reach: Sequence[Reach]) -> list[str]:
    """Why a role may see or do more than it was granted; no reason: it may not."""
    problems = unlimited_by(role)
    if role.is_superuser:
        return problems
    name = role.role_name
    problems += [
        f"{name} is a member of {one}, which reaches beyond its tables. "
        f"revoke {quoted(one)} from {quoted(name)};"
        for one in role.predefined_roles
    ]
    told = {
        "read": "may read, past row-level security,",
        "write": "may write to",
        "create": "may create objects in the schema",
    }
    for right_name, words in told.items():
        names = [one.name for one in reach if one.right_name == right_name]
        if names:
            problems.append(
                f"{name} {words} {listed(names, most=_NAMED)}. Take the right away (revoke), "
                "from PUBLIC or from the role that it comes by."
            )
    if any(one.right_name == "call" for one in reach):
        problems.append(
            f"{name} may take locks that Resmon takes, or fill the disk with large objects: it can "
            "stop collection, computation and alerts. Let a superuser run in this database: "
            "sql/bootstrap/database.sql"
        )
    return problems


def unlimited_by(role: Role) -> list[str]:
    """Why no policy limits a role; no reason: they do."""
    name = role.role_name
    if role.is_superuser:
        return [f"{name} is a superuser: nothing limits it. alter role {quoted(name)} nosuperuser;"]
    reasons = [
        f"{name} is a member of {one}, which sees every row. "
        f"revoke {quoted(one)} from {quoted(name)};"
        for one in role.platform_roles
    ]
    if role.is_above_policies:
        reasons.insert(
            0, f"{name} has BYPASSRLS: no policy limits it. alter role {quoted(name)} nobypassrls;"
        )
    return reasons


def notes_of(role: Role, *, has_grant: bool, is_embedded: bool) -> list[str]:
    """What else a person should know of a role that reads, or does not."""
    name = role.role_name
    notes = []
    if is_embedded:
        notes.append(
            "The embedded server asks nobody for a password: whoever reaches its socket may be any "
            "role. Grants hold on a server of your own (RESMON_POSTGRES_DSN)."
        )
    if not role.is_superuser and not role.is_reader:
        notes.append(f"{name} has no rights on schema resmon. {_make_reader(role)}")
    if role.has_reader and not role.has_policies:
        notes.append(f"The rights of {READER} are not made yet. Run: resmon db migrate")
    if not has_grant and not unlimited_by(role):
        notes.append(
            f"{name} has no grant and sees nothing. Grant it: "
            f"resmon access grant {name} ORGANIZATION"
        )
    notes += [
        f"{name} can also turn into {one} (set role) and then sees what that was granted."
        for one in role.granted_roles
    ]
    if role.is_login and role.has_all_connections and not role.is_superuser:
        notes.append(
            f"{name} may open every connection that the server has. Let a superuser run: "
            f"alter role {quoted(name)} connection limit 10;"
        )
    if not role.is_login:
        notes.append(f"{name} may not log in; logins that are members turn into it with set role.")
    return notes


def quoted(name: str) -> str:
    """A name as SQL wants it."""
    return name if _PLAIN_NAME.fullmatch(name) else '"{}"'.format(name.replace('"', '""'))


def _check_may_be_granted(role: Role) -> None:
    """Refuse a role that row-level security would not limit, or that reads nothing."""
    name = role.role_name
    if name in _OUR_ROLES or name.startswith("pg_"):
        msg = (
            f"{name} is not a role of one reader: every member of it would see what it is granted. "
            f"Grant to a login of its own: create role NAME login in role {READER};"
        )
        raise AccessRefused(msg)
    reasons = unlimited_by(role)
    if reasons:
        msg = f"Nothing was granted to {name}, because a grant would not limit it. {reasons[0]}"
        raise AccessRefused(msg)
    if not role.is_reader:
        msg = f"Nothing was granted to {name}: it is not a member of {READER}. {_make_reader(role)}"
        raise AccessRefused(msg)


def _make_reader(role: Role) -> str:
    """What a superuser has to run so that a role becomes a reader."""
    if not role.has_reader:
        return (
            f"That role does not exist: let a superuser run sql/bootstrap/roles.sql, then "
            f"grant {READER} to {quoted(role.role_name)}; and run: resmon db migrate"
        )
    return (
        f"Let a superuser run: grant {READER} to {quoted(role.role_name)}; "
        f"alter role {quoted(role.role_name)} inherit;"
    )


def _nothing_to_revoke(
    connection: psycopg.Connection[Any], role_name: str, organization: str | None
) -> str:
    """Message about a grant that is not there."""
    names = {one.organization_id: one.name for one in list_organizations(connection)}
    has = [
        "everything (--all)" if one.organization_id is None else names[one.organization_id]
        for one in list_grants(connection, role_name=role_name)
    ]
    what = "any grant" if organization is None else f"a grant of {organization}"
    rest = f"It has: {', '.join(has)}." if has else "It has none."
    return f"{role_name} does not have {what}. {rest} `resmon access list` shows all of them."
