-- Purpose: what the policies of row-level security ask where a row has no organization: the servers that the asking role reads.
-- With the caller's rights, and so under the policy of inventory.servers; planned once per session.
-- Plan: one scan of inventory.servers.
create or replace function inventory.seen_servers()
returns integer[]
language plpgsql
stable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select s.server_id
        from inventory.servers as s
    );
end
$$;

comment on function inventory.seen_servers() is
    'Ids of the servers of which current_user sees the row; empty: none.';
