-- Takes what the demo fleet had in the windows of %(asset)s that start in [%(start)s, %(end)s) out of their lines of the
-- ledger; a line that is left with nothing goes. Called before the rows are deleted, under the locks of these windows.
-- {table} is the table of the asset, {is_of_demo} says which of its rows are the fleet's.
-- Plan: the fleet's rows of a day by primary key; ops.window_state by primary key.
with counted as (
    select
        date_bin(%(width)s::interval, t.bucket_start, 'epoch'::timestamptz) as window_start,
        count(*) as row_count
    from {table} as t
    where {is_of_demo}
        and t.bucket_start >= %(start)s
        and t.bucket_start < %(end)s
    group by 1
),
sampled as (
    select
        date_bin(%(width)s::interval, h.slot_start, 'epoch'::timestamptz) as window_start,
        sum(h.sample_count)::bigint as sample_count,
        array_agg(h.sample_count order by h.slot_start) as slot_samples
    from pg_temp.demo_samples as h
    where h.source = %(source)s
    group by 1
),
left_over as (
    update ops.window_state as w
    set
        row_count = greatest(w.row_count - coalesce(c.row_count, 0), 0),
        sample_count = greatest(w.sample_count - coalesce(s.sample_count, 0), 0),
        slot_samples = case
            when w.slot_samples is not null and s.slot_samples is not null then array(
                select greatest(u.old - u.gone, 0)
                from unnest(w.slot_samples, s.slot_samples) with ordinality as u (old, gone, slot)
                order by u.slot
            )
            else w.slot_samples
        end
    from sampled as s
    full join counted as c on c.window_start = s.window_start
    where w.asset = %(asset)s
        and w.window_start = coalesce(s.window_start, c.window_start)
    returning
        w.window_start,
        w.row_count,
        w.sample_count
)
select l.window_start
from left_over as l
where l.row_count = 0
    and l.sample_count = 0
