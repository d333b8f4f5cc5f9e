-- Sets a limit from an instant on; one that was set for the very same instant is replaced.
-- Plan: primary key; its trigger makes the usage windows since then stale.
insert into inventory.quotas as q (
    organization_id,
    resource,
    valid_from,
    limit_value,
    set_at
)
values (
    %(organization_id)s,
    %(resource)s,
    %(valid_from)s,
    %(limit_value)s,
    %(now)s
)
on conflict (organization_id, resource, valid_from) do update
set
    limit_value = excluded.limit_value,
    set_at = excluded.set_at;
