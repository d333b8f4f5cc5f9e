-- Real servers and organizations that lie in organizations of the demo fleet. Plan: small tables.
select s.name
from inventory.servers as s
inner join demo.organizations as o on o.organization_id = s.organization_id
where not exists (
    select
    from demo.servers as d
    where d.server_id = s.server_id
)
union all
select o.name
from inventory.organizations as o
inner join demo.organizations as p on p.organization_id = o.parent_id
where not exists (
    select
    from demo.organizations as d
    where d.organization_id = o.organization_id
)
order by 1
