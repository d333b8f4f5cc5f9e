-- Remembers which windows of %(asset)s have no line in the ledger yet. Plan: a probe of the primary key per window.
insert into demo.added_windows (asset, window_start)
select
    %(asset)s,
    g.window_start
from unnest(%(windows)s::timestamptz[]) as g (window_start)
where not exists (
    select
    from ops.window_state as w
    where w.asset = %(asset)s
        and w.window_start = g.window_start
)
on conflict (asset, window_start) do nothing
