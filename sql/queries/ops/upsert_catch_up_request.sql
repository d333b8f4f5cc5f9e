-- Ask for windows to be computed again, whatever their state; what was tried before is forgotten. Plan: primary key per window.
insert into ops.catch_up as c (
    asset,
    window_start,
    requested_at
)
select
    w.asset,
    w.window_start,
    %(requested_at)s
from unnest(%(assets)s::text[], %(starts)s::timestamptz[]) as w (asset, window_start)
order by
    w.asset,
    w.window_start
on conflict (asset, window_start) do update
set
    requested_at = excluded.requested_at,
    attempts = 0,
    attempted_at = null,
    attempted_revision = null,
    refused_at = null,
    refused_revision = null,
    refusal = null
