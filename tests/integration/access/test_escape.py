"""A tenant with a psql prompt that tries to get out, by every way that SQL has.

Whatever a statement answers, its rows, errors, notices and plans, must hold nothing of another
organization. A refusal is as good as an empty answer.
"""

import json
import re
import statistics
import time
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from resmon_resources import access
from resmon_resources.live_notice import notify_live
from tests.integration.access.calls import calls, outcome
from tests.integration.access.conftest import ADMIN, PASSWORD, PLATFORM, grant
from tests.integration.access.tenants import (
    ACME,
    DAY,
    FOREIGN,
    GLOBEX,
    HOLDING,
    NOWHERE,
    PARTITIONED,
    UMBRELLA,
    add_rows,
    callable_functions,
    server_ids,
)

pytestmark = pytest.mark.integration

READER = "acme_reader"
(THEIR_SERVER, _), (OUR_SERVER, _) = server_ids(GLOBEX), server_ids(ACME)


def everything_told(connection: psycopg.Connection[Any], statements: Sequence[str]) -> list[str]:
    """Rows, errors (with detail, hint and context) and notices of statements, as text."""
    told: list[str] = []
    connection.add_notice_handler(lambda notice: told.append(str(notice.message_primary)))
    for statement in statements:
        try:
            cursor = connection.cursor()
            if statement.startswith("copy ("):
                with cursor.copy(statement) as copy:
                    told += [bytes(part).decode() for part in copy]
                continue
            cursor.execute(statement)
            if cursor.description is not None:
                told += [str(row) for row in cursor.fetchall()]
        except psycopg.Error as error:
            diagnosis = error.diag
            told += [
                str(part)
                for part in (
                    diagnosis.message_primary,
                    diagnosis.message_detail,
                    diagnosis.message_hint,
                    diagnosis.context,
                )
                if part
            ]
    return told


def assert_nothing_foreign(told: Sequence[str], statements: Sequence[str]) -> None:
    """None of it is of another organization, but for what the tenant wrote itself."""
    typed = " ".join(statements)
    for line in told:
        found = {match.group() for match in FOREIGN.finditer(line)}
        leaked = {one for one in found if one not in typed}
        assert not leaked, line


SHOUT = (
    "create function pg_temp.shout(v anyelement) returns boolean language plpgsql cost 0.0000001 "
    "as $$ begin raise notice 'heard %', v; return true; end $$"
)

LOOKS = {
    "by id": ["select * from resmon.servers where server_id = 812300011"],
    "by organization": ["select * from resmon.metric_aggregations where organization_id <> 1"],
    "outer join": [
        "select s.*, m.* from generate_series(812300001, 812300030) as g (id) "
        "left join resmon.servers as s on s.server_id = g.id "
        "left join resmon.server_resource_metrics as m on m.server_id = g.id"
    ],
    "full join": [
        "select * from resmon.servers as s full join resmon.server_status as t using (server_id)"
    ],
    "lateral": [
        "select m.* from generate_series(812300001, 812300030) as g (id) cross join lateral "
        "(select * from raw.server_resource_metrics as r where r.server_id = g.id offset 0) as m"
    ],
    "correlated subquery": [
        "select (select max(name) from inventory.servers where server_id = 812300011)"
    ],
    "materialized": [
        "with all_of_it as materialized (select server_id, name from inventory.servers) "
        "select * from all_of_it",
    ],
    "parents alone": [f"select * from only {table}" for table in PARTITIONED],
    "system columns": [
        "select tableoid::regclass, ctid, xmin, to_jsonb(t) from tier.metrics_1hour as t",
    ],
    "sample of the table": [
        "select to_jsonb(t) from raw.server_resource_metrics as t tablesample system (100)"
    ],
    "whole rows as text": [
        "select t::text from raw.server_status as t",
        "select xmlelement(name r, t.server_id) from raw.server_status as t",
        "select query_to_xml('select * from inventory.organizations', true, true, '')",
        "select table_to_xml('inventory.organizations', true, true, '')",
        "select schema_to_xml('resmon', true, true, '')",
        "select database_to_xml(true, true, '')",
    ],
    "copy out": ["copy (select server_id, name from inventory.servers) to stdout"],
    "cursor": [
        "begin",
        "declare c scroll cursor with hold for select * from resmon.alerts",
        "fetch all from c",
        "fetch backward all from c",
        "commit",
        "fetch backward all from c",
    ],
    "prepared": [
        "prepare p (int) as select * from resmon.servers where server_id = $1",
        *["execute p(812300011)"] * 7,
    ],
    "own view and rule": [
        "create temp view v as select * from inventory.organizations",
        "select * from v",
        "create temp table t (organization_id int)",
        "insert into t select organization_id from inventory.organizations",
        "create rule r as on insert to t do also select * from inventory.organizations",
        "insert into t values (1)",
        "table t",
    ],
    "own function with its owner's rights": [
        "create function pg_temp.f() returns setof text language sql security definer "
        "as 'select name::text from inventory.servers'",
        "select * from pg_temp.f()",
    ],
    "statistics": [
        "select schemaname, tablename, attname, most_common_vals, histogram_bounds from pg_stats "
        "where schemaname not in ('pg_catalog', 'information_schema')",
        "select * from pg_stats_ext",
        "select * from pg_stats_ext_exprs",
        "select stavalues1 from pg_statistic",
        "select * from pg_statistic_ext_data",
    ],
    "plans": [
        "explain (analyze, verbose, buffers, settings) select * from resmon.server_status",
        "explain (analyze, verbose) select * from resmon.metric_aggregations "
        "where granularity = '1hour'",
        "explain (verbose, generic_plan) select * from inventory.servers where name = $1",
    ],
    "an error as a channel": [
        "select count(*) from inventory.servers where 1 / (server_id - 812300011) = 1",
        "select count(*) from inventory.servers where name::int > 0",
        "select count(*) from resmon.servers where cast(server_name as date) is null",
        "select 1 from resmon.servers where (select server_name from resmon.servers) = ''",
        "select count(*) from resmon.metric_aggregations where 1 / (organization_id - 812300001)"
        " = 1",
        "select (array_agg(name))[1]::int from inventory.organizations",
        "select resmon.quota_exceeded_since(812300001, 'cpu_cores', '2026-03-01Z')::text::int",
    ],
    "a function that shouts": [
        SHOUT,
        *[
            f"select count(*) from {relation} as r where pg_temp.shout(r)"
            for relation in (
                "inventory.servers",
                "inventory.organizations",
                "inventory.quotas",
                "inventory.organization_access",
                "inventory.inherited_limits",
                "raw.server_status",
                "raw.collection_coverage",
                "alert.alert_events",
                "resmon.server_status",
                "resmon.organization_limits()",
            )
        ],
    ],
    "an operator that shouts": [
        "create function pg_temp.loud(a int, b int) returns boolean language plpgsql "
        "cost 0.0000001 as $$ begin raise notice 'heard %', a; return true; end $$",
        "create operator public.=== (leftarg = int, rightarg = int, function = pg_temp.loud)",
        "select count(*) from inventory.servers where pg_temp.loud(server_id, organization_id)",
    ],
    "pretending to be leakproof": [
        "create function pg_temp.quiet(v int) returns boolean language plpgsql leakproof "
        "as $$ begin raise notice 'heard %', v; return true; end $$",
        "select count(*) from inventory.servers where pg_temp.quiet(server_id)",
    ],
    "row security off": [
        "set row_security = off",
        "select * from inventory.servers",
        "select * from resmon.server_status",
        "select * from resmon.samples_after(0)",
    ],
    "settings of one's own": [
        "set resmon.organization_id = '812300001'",
        "set app.current_user = 'globex_reader'",
        "select set_config('resmon.role', 'globex_reader', false)",
        "set session_replication_role = replica",
        "set enable_indexscan = off",
        "set enable_seqscan = off",
        "set plan_cache_mode = force_generic_plan",
        "set constraint_exclusion = on",
        "set from_collapse_limit = 1",
        "select * from resmon.servers",
        "select * from resmon.server_status",
    ],
    "writing to find out": [
        "insert into inventory.organizations (name, created_at) values ('x', now())",
        "insert into inventory.servers (server_id, organization_id, name, transport, host, "
        "created_at, changed_at) overriding system value values "
        "(812300011, 1, 'x', 'ssh', 'h', now(), now())",
        "insert into raw.server_status (server_id, status, last_attempt_at) "
        "values (812300011, 'healthy', now())",
        "update inventory.servers set name = name returning *",
        "delete from inventory.servers returning *",
        "merge into inventory.servers as s using (values (1)) as v on true "
        "when matched then update set name = 'x' returning *",
        "create temp table t (id int references inventory.servers)",
        "create temp table u (like inventory.servers including all)",
        "select * from inventory.servers for update",
    ],
    "other databases and files": [
        "select pg_read_file('postgresql.conf')",
        "select pg_ls_dir('.')",
        "copy inventory.servers (name) to '/tmp/globex'",
        "copy inventory.servers (name) to program 'cat'",
        "select lo_import('/etc/passwd')",
        "select * from pg_largeobject",
        "select * from pg_hba_file_rules",
        "select pg_current_logfile()",
    ],
    "large objects": [
        "select lo_create(4711)",
        "select lo_get(4711)",
        "select * from pg_largeobject_metadata where lomowner <> current_user::regrole",
        "select lo_unlink(4711)",
    ],
    "what others ran": [
        "select query from pg_stat_activity where usename <> current_user",
        "select * from pg_prepared_statements",
        "select * from pg_cursors",
    ],
}


@pytest.mark.parametrize("name", LOOKS)
def test_looking_around_shows_nothing_of_others(tenants, name):
    """Would let back: a way of asking that row-level security does not stand in."""
    with tenants.reader() as connection:
        told = everything_told(connection, LOOKS[name])
    assert_nothing_foreign(told, LOOKS[name])


REFUSED = (
    *(
        "set role resmon_owner",
        "set role resmon_writer",
        "set role resmon",
        "set role globex_reader",
    ),
    *("set role all_reader", f"set role {ADMIN}", f"set role {PLATFORM}"),
    *("set session authorization resmon", "set session authorization globex_reader"),
    "select set_config('role', 'resmon_writer', false)",
    *("alter role acme_reader superuser", "alter role acme_reader bypassrls"),
    *("alter role globex_reader rename to x", "alter role globex_reader password 'x'"),
    *("grant resmon_writer to acme_reader", "grant all_reader to acme_reader"),
    "create role other in role resmon_writer",
    "insert into inventory.access_grant (role_name, granted_at) values ('acme_reader', now())",
    "insert into inventory.organization_access values ('acme_reader', 812300001)",
    "update inventory.access_grant set organization_id = null",
    "select inventory.recompute_access(null)",
    "alter table inventory.servers disable row level security",
    "alter table inventory.servers no force row level security",
    "drop policy readers on inventory.servers",
    "create policy mine on inventory.servers using (true)",
    "alter policy readers on inventory.servers using (true)",
    *("create table public.t (n int)", "create table resmon.t (n int)", "create schema mine"),
    "create function resmon.f() returns int language sql return 1",
    "create or replace view resmon.servers as select 1",
    "create or replace function resmon.live_position() returns bigint language sql return 1",
    *(
        "create or replace function inventory.sees_everything() returns boolean language sql "
        "stable parallel safe return true",
        "create or replace view inventory.reach as select true as sees_every_organization",
        "alter function inventory.seen_organizations() set search_path = mine",
        "alter function inventory.seen_servers() owner to acme_reader",
        "drop function inventory.sees_every_organization()",
    ),
    "create trigger t before insert on raw.server_status "
    "execute function inventory.drop_host_key()",
    "create index on inventory.servers (name)",
    "create statistics public.s on name, host from inventory.servers",
    "create event trigger t on ddl_command_end execute function inventory.drop_host_key()",
    "create publication p for table inventory.servers",
    "alter default privileges for role resmon_owner grant select on tables to acme_reader",
    "reassign owned by resmon_owner to acme_reader",
    "alter database {database} owner to acme_reader",
    "alter system set row_security = off",
    "select * from pg_authid",
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'resmon'",
    "truncate raw.server_status",
    "do $$ begin lock table raw.server_status in access exclusive mode; end $$",
    "select ops.ensure_partitions('tier.metrics_1day', 'year', now(), now())",
    "select * from ops.window_state",
    "select * from demo.servers",
    "select host, user_name, identity_file from inventory.servers",
    *("select * from inventory.host_keys", "select * from inventory.maintenance_window"),
    *("select * from inventory.organization_period", "select * from raw.too_late_samples"),
    *("select * from alert.routes", "select * from alert.silences", "select * from alert.outbox"),
    *("select * from alert.conditions", "select * from alert.deliveries"),
    "select granted_by from inventory.access_grant",
    "select * from anomaly.detector_state",
)


@pytest.mark.parametrize("statement", REFUSED)
def test_what_would_lift_the_limits_is_refused(tenants, statement):
    """Would let back: a reader that may change what it may read."""
    with tenants.reader() as connection:
        told = statement.format(database=tenants.database)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(told)
        shown = connection.execute("select count(*) from resmon.organizations").fetchone()
    assert shown == (2,)


def test_no_partition_can_be_read_by_its_name(tenants):
    """Would let back: rows of all tenants in tier.metrics_1hour_20260301, where no policy is."""
    with tenants.superuser() as connection:
        partitions = [
            name
            for (name,) in connection.execute(
                "select oid::regclass::text from pg_class where relispartition and relkind = 'r'"
            ).fetchall()
        ]
    assert len(partitions) >= len(PARTITIONED)
    with tenants.reader() as connection:
        for name in partitions:
            for statement in (f"select * from {name}", f"select count(*) from {name}"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement)


def test_a_search_path_of_ones_own_shows_nothing_of_others(tenants):
    """Would let back: names and operators in a view, policy or function that the caller supplies.

    A schema of the tenant's own holds false tables and operators under the names that policies,
    views and functions use, and stands before pg_catalog.
    """
    false_world = (
        "create table {0}.organization_access (role_name name, organization_id int)",
        "insert into {0}.organization_access select current_user, o from "
        "unnest(array[600100001, 812300001, 812300002, 812300003]) as o",
        "create table {0}.access_grant (role_name name, organization_id int)",
        "insert into {0}.access_grant values (current_user, null)",
        "create function {0}.yes(a int, b int) returns boolean language sql return true",
        "create function {0}.yes(a name, b name) returns boolean language sql return true",
        "create operator {0}.= (leftarg = int, rightarg = int, function = {0}.yes)",
        "create operator {0}.= (leftarg = name, rightarg = name, function = {0}.yes)",
        "create operator {0}.<> (leftarg = int, rightarg = int, function = {0}.yes)",
        "create function {0}.unnest(int[]) returns setof int language sql "
        "as 'select pg_catalog.generate_series(812300001, 812300030)'",
        'create function {0}."current_user"() returns name language sql '
        "return 'all_reader'::name",
        "create function {0}.organization_subtree(int) returns setof int language sql "
        "as 'select 812300001'",
        "create function {0}.coalesce(int, int) returns int language sql return 812300001",
        "create function {0}.sees_everything() returns boolean language sql return true",
        "create function {0}.sees_every_organization() returns boolean language sql return true",
        "create function {0}.seen_organizations() returns int[] language sql "
        "return array[600100001, 812300001, 812300002, 812300003]",
        "create function {0}.seen_servers() returns int[] language sql return array[812300011]",
        "create view {0}.reach as select true as sees_every_organization",
    )
    with tenants.superuser() as connection:
        functions = callable_functions(connection, READER)
        connection.execute(f"create schema mine authorization {READER}")
    try:
        with tenants.reader() as cunning:
            for schema in ("mine", "pg_temp"):
                for statement in false_world:
                    try:
                        cunning.execute(statement.format(schema))
                    except psycopg.Error:
                        assert schema == "pg_temp", statement
            cunning.execute("set search_path = mine, pg_temp, pg_catalog, inventory, resmon")
            for function in functions:
                if function.name == "resmon.data_version":
                    continue
                for subject in ("both", "theirs"):
                    for one in calls(function, subject):
                        answer = outcome(cunning, *one)
                        if answer[:1] != ("error",):
                            assert not FOREIGN.search(" ".join(answer)), (function.name, one)
            told = everything_told(
                cunning,
                [
                    "select * from resmon.servers",
                    "select * from resmon.server_status",
                    "select * from inventory.servers where server_id = 1",
                    "select * from inventory.inherited_limits",
                    "select * from inventory.reach where not sees_every_organization",
                    "select inventory.seen_servers(), inventory.seen_organizations()",
                    "select * from resmon.metric_aggregations where organization_id = 1",
                ],
            )
            assert len(told) > 10
            assert_nothing_foreign(told, [])
    finally:
        with tenants.superuser() as connection:
            connection.execute("drop schema mine cascade")


def test_a_grant_taken_away_ends_with_the_next_statement(tenants):
    """Would let back: a prepared statement, plan or function that goes on showing what was seen."""
    count = "select count(*) from resmon.server_status"
    with tenants.reader() as connection, tenants.superuser() as superuser:
        connection.execute("prepare p as " + count)
        for _ in range(7):
            assert connection.execute("execute p").fetchone() == (4,)
            assert connection.execute(count).fetchone() == (4,)
        connection.execute("begin")
        connection.execute("declare c no scroll cursor for select * from resmon.server_status")
        access.revoke_access(superuser, READER, organization="acme")
        try:
            # An open cursor is an answer that has begun; the transaction's next statement is not.
            assert len(connection.execute("fetch all from c").fetchall()) == 4
            assert connection.execute("execute p").fetchone() == (0,)
            connection.execute("commit")
            assert connection.execute(count).fetchone() == (0,)
        finally:
            superuser.execute(
                "insert into inventory.access_grant (role_name, organization_id, granted_at) "
                "values (%s, %s, %s)",
                [READER, ACME, DAY],
            )
        assert connection.execute("execute p").fetchone() == (4,)


def test_a_session_that_turns_from_one_tenant_into_another_sees_what_each_sees(tenants):
    """Would let back: what the policies ask, planned or answered for the role that asked before.

    A pool keeps its connections, and with them the plans of functions, and turns into each tenant.
    """
    seen = {
        "acme_reader": {"acme", "acme-eu"},
        "globex_reader": {"globex", "globex-eu"},
        "nobody_reader": set(),
        "all_reader": {"holding", "acme", "acme-eu", "globex", "globex-eu", "umbrella"},
    }
    names = "select organization_name from resmon.{} group by 1"
    views = ("server_status", "servers", "organizations", "filesystem_status")
    with tenants.superuser() as pool:
        # Neither superuser nor owner of anything: a login that is a member of each.
        pool.execute("create role pool_login noinherit in role " + ", ".join(seen))
        try:
            pool.execute("set session authorization pool_login; set role acme_reader")
            for view in views:
                pool.execute(f"prepare of_{view} as {names.format(view)}")
            for _ in range(7):
                for role, expected in seen.items():
                    pool.execute(f"set role {role}")
                    for view in views:
                        for statement in (names.format(view), f"execute of_{view}"):
                            found = {name for (name,) in pool.execute(statement).fetchall()}
                            assert found == expected, (role, statement)
                    (reach,) = pool.execute("select inventory.sees_every_organization()").fetchone()
                    assert reach is (role == "all_reader")
        finally:
            pool.execute("reset session authorization; reset role; drop role pool_login")


def test_who_sees_every_organization_sees_no_server_of_one_that_comes_later(
    password_server, database
):
    """Would let back: the short way for whoever sees all, kept when there is more than it sees."""
    of_servers = "select array_agg(server_id order by server_id) from inventory.servers"
    of_status = "select array_agg(server_id order by server_id) from raw.server_status"
    granted = (
        "select array_agg(server_id order by server_id) from inventory.servers "
        "join inventory.organization_access using (organization_id) where role_name = %s"
    )
    changes = (
        ("insert into inventory.access_grant (role_name, organization_id, granted_at) "
         f"values ('acme_reader', {UMBRELLA}, now())", True),
        ("insert into inventory.organizations (organization_id, name, created_at) "
         "overriding system value values (7, 'later', now())", False),
        ("update inventory.organizations set parent_id = 7, changed_at = now() "
         f"where organization_id = {UMBRELLA}", False),
        ("update inventory.servers set organization_id = 7, changed_at = now() "
         f"where server_id = {OUR_SERVER}", False),
        ("update inventory.organizations set parent_id = "
         f"{HOLDING}, changed_at = now() where organization_id = 7", True),
        ("update inventory.organizations set parent_id = null, changed_at = now() "
         f"where organization_id = {GLOBEX}", False),
        ("insert into inventory.access_grant (role_name, granted_at) "
         "values ('acme_reader', now())", True),
        ("delete from inventory.access_grant where organization_id is null", False),
        (f"delete from inventory.access_grant where organization_id = {HOLDING}", False),
    )  # fmt: skip
    with (
        password_server.connect(database, PLATFORM) as platform,
        password_server.connect(database, READER) as reader,
    ):
        add_rows(platform)
        grant(platform, READER, HOLDING)
        reader.execute("prepare status as " + of_status)
        for change, is_everything in changes:
            platform.execute(change)
            seen = reader.execute(of_servers).fetchone()
            assert seen == platform.execute(granted, [READER]).fetchone(), change
            assert reader.execute(of_status).fetchone() == seen, change
            assert reader.execute("execute status").fetchone() == seen, change
            told = reader.execute("select sees_every_organization from inventory.reach").fetchone()
            assert told == (is_everything,), change


def test_a_role_that_is_no_reader_any_more_sees_no_view(tenants):
    """Would let back: rights that outlive the membership in an open session."""
    count = "select count(*) from resmon.server_status"
    with tenants.reader("globex_reader") as connection, tenants.superuser() as superuser:
        connection.prepare_threshold = 0
        assert connection.execute(count).fetchone() == (4,)
        superuser.execute("revoke resmon_reader from globex_reader")
        try:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(count)
        finally:
            superuser.execute("grant resmon_reader to globex_reader")


def test_an_id_of_others_costs_and_plans_like_one_that_does_not_exist(tenants):
    """Would let back: a clock or a plan that tells which ids there are."""
    statements = (
        "select * from resmon.server_resource_metrics where server_id = {} "
        "and collected_at >= '2026-03-01Z' and collected_at < '2026-03-02Z'",
        "select * from resmon.server_status where server_id = {}",
        "select * from resmon.latest(array[{}])",
        "select * from resmon.server_metrics(array[{}], '2026-03-01Z', '2026-03-02Z', '1hour')",
    )
    with tenants.reader() as connection:
        for statement in statements:
            seconds: dict[int, list[float]] = {THEIR_SERVER: [], NOWHERE: []}
            plans = set()
            for number in range(60):
                for server_id in sorted(seconds, reverse=number % 2 == 0):
                    begun = time.perf_counter()
                    found = connection.execute(statement.format(server_id)).fetchall()
                    seconds[server_id].append(time.perf_counter() - begun)
                    assert found == []
            for server_id in seconds:
                plan = connection.execute(
                    "explain (costs off) " + statement.format(server_id)
                ).fetchall()
                plans.add(re.sub(r"\d{9}", "ID", str(plan)))
            assert len(plans) == 1, statement
            ratio = statistics.median(seconds[THEIR_SERVER]) / statistics.median(seconds[NOWHERE])
            assert 1 / 3 < ratio < 3, statement


def test_a_notice_tells_ids_and_a_number(tenants):
    """Would let back: values or names in what any login may listen to."""
    with tenants.reader() as ear, tenants.server.connect(tenants.database, PLATFORM) as platform:
        ear.execute("listen resmon_live")
        assert notify_live(platform, commit_sequence=3, organization_ids=[GLOBEX]) is None
        notices = [notice.payload for notice in ear.notifies(timeout=60, stop_after=1)]
    assert [json.loads(one) for one in notices] == [{"sequence": 3, "organizations": [GLOBEX]}]


def test_without_a_password_nobody_comes_in(tenants):
    """Would let back: tests that prove nothing, because the server trusts everybody."""
    dsn = tenants.server.dsn(tenants.database, READER)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(dsn.replace(PASSWORD, "wrong"))


def test_the_looks_find_what_a_role_may_see(tenants):
    """Would let back: statements and patterns that find nothing, and a suite green for that."""
    found = set()
    for name, statements in LOOKS.items():
        with tenants.reader("all_reader") as connection:
            told = everything_told(connection, statements)
        if any(FOREIGN.search(line) and line not in " ".join(statements) for line in told):
            found.add(name)
    assert found >= {
        *("by id", "by organization", "outer join", "full join", "lateral", "correlated subquery"),
        *("materialized", "system columns", "sample of the table", "whole rows as text"),
        *("copy out", "cursor", "prepared", "own view and rule", "an error as a channel"),
        *("own function with its owner's rights", "a function that shouts"),
    }
