-- Once in the data database, by a superuser, after roles.sql; again does no harm. It takes from readers what PostgreSQL gives to
-- every login and what would let one of them hold up the platform:
--   connecting and temporary tables, but for our roles;
--   advisory locks: the keys of Resmon's own can be worked out by anyone, and while a stranger holds one no collector starts,
--   no window is stored, no alert is sent;
--   large objects, with which a login that may write nowhere fills the disk.
-- Rights on functions of PostgreSQL are of one database; pg_dump and pg_upgrade carry them over.
do $$
declare
    v_function record;
begin
    execute format('revoke connect, temporary on database %I from public', current_database());
    execute format('grant connect on database %I to resmon_reader', current_database());
    execute format('grant connect, temporary on database %I to resmon_writer', current_database());
    for v_function in
        select
            p.oid::regprocedure as signature,
            p.proname ~ 'advisory' as is_lock
        from pg_catalog.pg_proc as p
        where p.pronamespace = 'pg_catalog'::regnamespace
            and (p.proname ~ '^pg_(try_)?advisory_' or p.proname in ('lo_creat', 'lo_create', 'lo_from_bytea'))
    loop
        execute format('revoke execute on function %s from public', v_function.signature);
        if v_function.is_lock then
            execute format('grant execute on function %s to resmon_owner, resmon_writer', v_function.signature);
        end if;
    end loop;
end
$$;
