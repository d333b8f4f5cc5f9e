-- All organizations in the order of the tree (a parent before its children, siblings by name), with their path.
-- Plan: recursive scan; organizations are hundreds, servers are counted once.
with recursive tree as (
    select
        organization_id,
        name,
        parent_id,
        array[name] as path
    from inventory.organizations
    where parent_id is null
    union all
    select
        child.organization_id,
        child.name,
        child.parent_id,
        tree.path || child.name
    from inventory.organizations as child
    inner join tree on tree.organization_id = child.parent_id
)

select
    tree.organization_id,
    tree.name,
    tree.parent_id,
    tree.path,
    coalesce(counted.server_count, 0)::integer as server_count
from tree
left join (
    select
        organization_id,
        count(*) as server_count
    from inventory.servers
    where state <> 'deleted'
    group by organization_id
) as counted on counted.organization_id = tree.organization_id
order by tree.path;
