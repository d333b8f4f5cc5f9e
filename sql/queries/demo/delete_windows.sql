-- Lines of the ledger of these windows of %(asset)s, which are left with nothing: those that came with the demo fleet, and
-- hours of usage, in which organizations have rows without servers. Plan: primary keys.
with gone as (
    delete from demo.added_windows as a
    where a.asset = %(asset)s
        and a.window_start = any(%(windows)s)
    returning a.window_start
)
delete from ops.window_state as w
where w.asset = %(asset)s
    and w.window_start = any(%(windows)s)
    and (
        w.asset = 'rollup.organization_resource_usage'
        or w.window_start in (
            select g.window_start
            from gone as g
        )
    )
