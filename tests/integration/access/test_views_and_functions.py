"""Every view, table and function that a reader reaches: a tenant alone in the world sees the same.

What there is comes from the catalog, so that a new view or function is tried without being named.
"""

import pytest

from tests.integration.access.calls import Outcome, outcomes
from tests.integration.access.tenants import (
    ABOVE,
    ACME,
    ACME_EU,
    DAY,
    FOREIGN,
    HOLDING,
    callable_functions,
    readable_relations,
)

pytestmark = pytest.mark.integration

READER = "acme_reader"

DEFINERS = {
    "resmon.data_version",
    "resmon.live_position",
    "tier.computed_until",
    "tier.kept_since",
}
"""With their owner's rights, and callable by readers: each was read, and tells times and numbers of
the platform as a whole.
"""

OWNERS_VIEWS = {"inventory.inherited_limits", "inventory.reach"}
"""Views with their owner's rights: each was read, and goes by current_user."""

NAMES_THE_ONE_ABOVE = {
    "inventory.inherited_limits",
    "inventory.organizations",
    "resmon.organizations",
    "resmon.organization_limits",
}
"""They tell the id of the organization above: as parent, or as that which a limit comes from."""

MAY_BE_EMPTY = {
    "tier.checked_count",
    "tier.checked_granularity",
    "tier.checked_limit",
    "tier.checked_name",
    "tier.checked_range",
    "tier.refuse",
    "tier.computed_until",
    "tier.kept_since",
}
"""Helpers that refuse, answer nothing, or have nothing to answer of these rows."""


def rows_of(connection, relation, columns):
    listed = ", ".join(f'"{column}"' for column in columns)
    found = connection.execute(f"select row({listed})::text from {relation}").fetchall()
    return sorted(text for (text,) in found)


def assert_ours(name: str, texts: list[str] | Outcome) -> None:
    """No row of another organization is among these."""
    for text in texts:
        assert not FOREIGN.search(text), f"{name}: {text}"
        if name not in NAMES_THE_ONE_ABOVE:
            assert not ABOVE.search(text), f"{name}: {text}"


def test_every_relation_shows_a_tenant_its_own_rows_alone(tenants, alone):
    """Would let back: a view, table or column by which one tenant reads of another, or can tell
    that there is one.
    """
    with tenants.reader(READER) as reader, tenants.superuser() as everything:
        relations = readable_relations(everything, READER)
        assert {"resmon.servers", "resmon.metric_aggregations", "tier.metrics_1hour"} <= set(
            relations
        )
        with alone.reader(READER) as in_an_empty_world:
            for name, columns in relations.items():
                ours = rows_of(reader, name, columns)
                assert_ours(name, ours)
                assert ours, f"{name}: add_rows() has to put rows of acme there"
                assert ours == rows_of(in_an_empty_world, name, columns), name
                if name not in {"inventory.access_grant", *OWNERS_VIEWS}:
                    hidden = " ".join(rows_of(everything, name, columns))
                    assert FOREIGN.search(hidden), f"{name}: add_rows() has to hide rows there"


def test_every_function_answers_of_its_own_rows_alone(tenants, alone):
    """Would let back: a function that takes another tenant's id and answers, or answers otherwise
    than for an id that does not exist.
    """
    with tenants.reader(READER) as reader, alone.reader(READER) as in_an_empty_world:
        with tenants.superuser() as everything:
            functions = callable_functions(everything, READER)
        assert len(functions) > 20
        for function in functions:
            if function.name == "resmon.data_version":
                continue  # tells of the whole platform; see below
            found = {
                subject: outcomes(reader, function, subject)
                for subject in ("ours", "theirs", "both", "nowhere")
            }
            for of_one in found.values():
                for answer in of_one:
                    if answer[:1] != ("error",):
                        assert_ours(function.name, answer)
            assert any(one and one[0] != "error" for one in found["ours"]) or (
                function.name in MAY_BE_EMPTY
            ), f"{function.name}: no call answers with a row; teach ARGUMENTS or add_rows()"
            assert set(found["theirs"]) <= set(found["nowhere"]) | set(found["ours"]), function.name
            if "p_organization_id" not in function.parameters:
                assert found["theirs"] == found["nowhere"] or function.needed == 0, function.name
                assert found["both"] == found["ours"], function.name
            for subject, of_one in found.items():
                assert of_one == outcomes(in_an_empty_world, function, subject), function.name


def test_a_platform_wide_answer_tells_no_name_and_no_id(tenants):
    """Would let back: data_version() with a part per organization."""
    with tenants.reader(READER) as reader:
        ((text,),) = reader.execute("select v::text from resmon.data_version() as v").fetchall()
    assert not FOREIGN.search(text.split(",", 1)[1])
    assert not ABOVE.search(text.split(",", 1)[1])


def test_what_readers_reach_is_protected_and_the_exceptions_are_known(tenants):
    """Would let back: a table without policies, a view or function with its owner's rights."""
    with tenants.superuser() as connection:
        relations = readable_relations(connection, READER)
        unprotected = connection.execute(
            "select r.name from unnest(%s::text[]) as r (name) "
            "join pg_class as c on c.oid = r.name::regclass "
            "where case c.relkind when 'v' then not coalesce('security_invoker=true' = "
            "any (c.reloptions), false) "
            "else c.relispartition or not c.relrowsecurity or not c.relforcerowsecurity "
            "or not exists (select from pg_policy as p where p.polrelid = c.oid "
            "and p.polname = 'readers') end",
            [list(relations)],
        ).fetchall()
        definers = {one.name for one in callable_functions(connection, READER) if one.is_definer}
        others = connection.execute(
            "select distinct p.polroles::regrole[]::text from pg_policy as p "
            "where p.polname not in ('readers', 'platform')"
        ).fetchall()
    assert {name for (name,) in unprotected} == OWNERS_VIEWS
    assert definers == DEFINERS
    assert others == []


def test_what_is_shown_to_whoever_sees_all_organizations_has_one_for_certain(tenants):
    """Would let back: rows without an organization, or of one that was removed, shown to a role
    that was granted all that there are, and not everything.
    """
    with tenants.superuser() as connection:
        rows = connection.execute(
            "select p.polrelid::regclass::text, exists (select from pg_constraint as c "
            "join pg_attribute as a on a.attrelid = c.conrelid and a.attnum = any (c.conkey) "
            "where c.conrelid = p.polrelid and c.contype = 'f' and c.convalidated "
            "and a.attnotnull and (a.attname, c.confrelid) in "
            "(('organization_id', 'inventory.organizations'::regclass), "
            "('server_id', 'inventory.servers'::regclass))) from pg_policy as p "
            "where pg_get_expr(p.polqual, p.polrelid) ~ 'sees_every_organization'"
        ).fetchall()
    assert {name for name, is_held in rows if not is_held} == {"inventory.organizations"}
    assert {name for name, _ in rows} >= {"inventory.servers", "raw.server_status"}


def test_a_role_without_a_grant_sees_nothing_and_one_with_all_sees_everything(tenants):
    """Would let back: a new login that sees all until somebody thinks of it."""
    with (
        tenants.reader("nobody_reader") as nobody,
        tenants.reader("all_reader") as everybody,
        tenants.superuser() as superuser,
    ):
        for name, columns in readable_relations(superuser, "nobody_reader").items():
            if name == "inventory.reach":  # one row, of the role itself
                assert rows_of(nobody, name, columns) == ["(f)"]
                assert rows_of(everybody, name, columns) == ["(t)"]
                continue
            assert rows_of(nobody, name, columns) == [], name
            if "access" in name or name in OWNERS_VIEWS:
                continue
            assert rows_of(everybody, name, columns) == rows_of(superuser, name, columns), name


def test_a_session_that_changes_its_role_is_limited_from_then_on(tenants):
    """Would let back: a plan cached for one role and used for the next, inside functions too."""
    statement = (
        "select distinct server_id from resmon.server_metrics(%s, %s, %s::timestamptz + "
        "interval '1 day', '1hour') union all select distinct server_id "
        "from resmon.samples_after(0) order by 1"
    )
    ids = [one + 10 for one in (HOLDING, ACME, ACME_EU)]
    with tenants.superuser() as connection:
        connection.prepare_threshold = 0
        before = connection.execute(statement, [ids, DAY, DAY]).fetchall()
        for role, seen in ((READER, {ACME + 10, ACME_EU + 10}), ("nobody_reader", set())):
            connection.execute(f"set role {role}")
            found = {one for (one,) in connection.execute(statement, [ids, DAY, DAY]).fetchall()}
            assert found & set(ids) == seen
            connection.execute("reset role")
        assert connection.execute(statement, [ids, DAY, DAY]).fetchall() == before


def test_an_inherited_limit_is_told_and_one_that_does_not_hold_is_not(tenants):
    """Would let back: a tenant judged by a limit it cannot see, or that reads others' limits."""
    with tenants.reader(READER) as reader:
        limits = reader.execute(
            "select organization_id, resource, limit_organization_id, limit_value "
            "from resmon.organization_limits('2026-03-02Z') order by 1, 2"
        ).fetchall()
        sources = reader.execute("select resource from inventory.inherited_limits").fetchall()
    assert limits == [
        (ACME, "cpu_cores", ACME, ACME // 10),
        (ACME, "servers", HOLDING, HOLDING // 10),
        (ACME_EU, "cpu_cores", ACME_EU, ACME_EU // 10),
        (ACME_EU, "servers", HOLDING, HOLDING // 10),
    ]
    assert sources == [("servers",)]
