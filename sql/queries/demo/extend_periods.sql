-- Servers of the demo fleet were active from %(starts_at)s to %(until)s, and are paused from then on.
-- Plan: primary key of server_period, a probe per server.
with paused as (
    update inventory.server_period as p
    set valid_from = %(until)s
    from demo.servers as d
    where p.server_id = d.server_id
        and p.valid_to = 'infinity'
    returning
        p.server_id,
        p.organization_id,
        p.interval_seconds
)
insert into inventory.server_period (server_id, organization_id, state, interval_seconds, valid_from, valid_to)
select
    server_id,
    organization_id,
    'active',
    interval_seconds,
    %(starts_at)s,
    %(until)s
from paused
on conflict (server_id, valid_from) do update
set valid_to = excluded.valid_to
