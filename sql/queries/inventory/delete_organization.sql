-- Removes an organization that nothing refers to; the condition is repeated here so that a racing add wins.
-- No history either: neither it nor any organization that ever lay below it has had a server.
-- Plan: primary key, index scans on parent_id for each organization once below, one small scan.
with recursive ever_below as (
    select %(organization_id)s::integer as organization_id
    union
    select t.organization_id
    from inventory.organization_period as t
    inner join ever_below as b on b.organization_id = t.parent_id
)

delete from inventory.organizations as o
where o.organization_id = %(organization_id)s
    and not exists (select 1 from inventory.organizations as c where c.parent_id = o.organization_id)
    and not exists (select 1 from inventory.servers as s where s.organization_id = o.organization_id)
    and not exists (
        select 1
        from inventory.server_period as p
        inner join ever_below as b on b.organization_id = p.organization_id
    )
returning o.organization_id;
