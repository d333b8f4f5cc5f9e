-- Adds rows of the demo fleet to the ledger's line of one window, in the transaction that stores them. raw of the window's
-- hours was counted up by %(added)s in it (0 where raw is not kept): a line that was current stays current, a stale one stale.
-- A window without a line gets one; where real servers wait to be computed in it, one that is stale (revision -1).
-- Plan: primary keys of ops.window_state and ops.raw_hour; server_period by its time index, ended at the first hit.
with written as (
    select coalesce(sum(r.revision), 0) as revision
    from ops.raw_hour as r
    where r.hour >= %(window_start)s
        and r.hour < %(window_end)s
),
slots as (
    select array_agg(x.revision order by x.slot) as revisions
    from (
        select
            u.slot,
            sum(u.revision)::bigint as revision
        from ops.raw_hour as r
        cross join lateral unnest(r.slot_revisions) with ordinality as u (revision, slot)
        where r.hour = %(window_start)s
        group by u.slot
    ) as x
)
insert into ops.window_state as w (
    asset,
    window_start,
    revision,
    computed_at,
    complete_until,
    row_count,
    sample_count,
    slot_revisions,
    slot_samples
)
select
    %(asset)s,
    %(window_start)s,
    case
        when n.revision > %(added)s
            or (
                %(added)s > 0
                and exists (
                    select
                    from inventory.server_period as p
                    where p.state = 'active'
                        and p.valid_from < %(window_end)s
                        and p.valid_to > %(window_start)s
                        and not exists (
                            select
                            from demo.servers as d
                            where d.server_id = p.server_id
                        )
                )
            ) then -1
        else n.revision
    end,
    %(now)s,
    %(window_end)s,
    %(row_count)s,
    %(sample_count)s,
    case
        when %(slot_samples)s::bigint[] is not null
            then coalesce(s.revisions, array[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]::bigint[])
    end,
    %(slot_samples)s::bigint[]
from written as n
cross join slots as s
on conflict (asset, window_start) do update
set
    revision = w.revision + %(added)s,
    row_count = w.row_count + excluded.row_count,
    sample_count = w.sample_count + excluded.sample_count,
    slot_revisions = case
        when w.slot_revisions is not null then array(
            select u.revision + sign(%(added)s)::bigint
            from unnest(w.slot_revisions) with ordinality as u (revision, slot)
            order by u.slot
        )
    end,
    slot_samples = case
        when w.slot_samples is not null then array(
            select u.old + u.added
            from unnest(w.slot_samples, excluded.slot_samples) with ordinality as u (old, added, slot)
            order by u.slot
        )
    end
