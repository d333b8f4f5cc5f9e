-- What keeps an organization from being removed.
-- Plan: index on parent_id and organization_id.
select
    (
        select count(*)
        from inventory.organizations
        where parent_id = %(organization_id)s
    )::integer as child_count,
    (
        select count(*)
        from inventory.servers
        where organization_id = %(organization_id)s and state <> 'deleted'
    )::integer as server_count;
