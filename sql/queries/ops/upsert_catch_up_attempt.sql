-- One more run was requested for these windows. Plan: primary key per window.
insert into ops.catch_up as c (
    asset,
    window_start,
    attempts,
    attempted_at,
    attempted_revision
)
select
    w.asset,
    w.window_start,
    w.attempts,
    %(attempted_at)s,
    w.revision
from
    unnest(%(assets)s::text[], %(starts)s::timestamptz[], %(attempts)s::integer[], %(revisions)s::bigint[])
    as w (asset, window_start, attempts, revision)
order by
    w.asset,
    w.window_start
on conflict (asset, window_start) do update
set
    attempts = excluded.attempts,
    attempted_at = excluded.attempted_at,
    attempted_revision = excluded.attempted_revision
