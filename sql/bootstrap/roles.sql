-- Once per cluster, by a superuser, on a PostgreSQL of your own (the embedded server needs none of it); again does no harm. No
-- passwords here: set them with \password. Afterwards run `resmon db migrate`, also when it ran before: it gives the roles their
-- rights on tables and views, and makes the policies of row-level security.
do $$
declare
    v_role text;
begin
    foreach v_role in array array['resmon_owner', 'resmon_writer', 'resmon_reader'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
            execute format('create role %I nologin', v_role);
        end if;
    end loop;
end
$$;
-- resmon_owner owns the data database and all that is in it; whoever runs `resmon db migrate` is it:
--   create role resmon_admin login in role resmon_owner;
--   alter role resmon_admin set role resmon_owner;         so that what it makes belongs to resmon_owner
-- resmon_writer reads and writes rows and makes nothing; `resmon up` and all other commands:
--   create role resmon_platform login in role resmon_writer;
-- resmon_reader reads schema resmon, each role what it was granted (docs/access.md):
--   create role acme_grafana login in role resmon_reader;  then: resmon access grant acme_grafana acme
-- The data database, and Dagster's own, which belongs to the login of `resmon up`:
--   create database resmon owner resmon_owner;
--   create database resmon_dagster owner resmon_platform;
-- PostgreSQL lets every login connect to every database, make temporary tables and take locks of its own; readers need none of it:
--   revoke connect, temporary on database resmon_dagster from public;
--   and, in the data database: sql/bootstrap/database.sql
