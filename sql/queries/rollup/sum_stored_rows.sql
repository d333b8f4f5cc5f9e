-- What is stored in [%(start)s, %(end)s): rows; samples, expected samples and the expected ones that came, each counted
-- once (direct); samples of the subtrees of roots. An organization that was a root for a part of the time only is in
-- the second of these, not in the first: where there is one, they enclose the samples; where there is none, they equal them.
-- Plan: scan of the partition that the window touches; organizations once.
with roots as (
    select
        p.organization_id,
        bool_and(p.parent_id is null) as is_always_root
    from inventory.organization_period as p
    where p.valid_to > %(start)s
        and p.valid_from < %(end)s
    group by p.organization_id
    having bool_or(p.parent_id is null)
)

select
    count(*) as stored_rows,
    coalesce(sum(m.sample_count) filter (where m.scope = 'direct'), 0)::bigint as stored_samples,
    coalesce(sum(m.expected_count) filter (where m.scope = 'direct'), 0)::bigint as expected_samples,
    coalesce(sum(least(m.sample_count, m.expected_count)) filter (where m.scope = 'direct'), 0)::bigint
        as arrived_samples,
    coalesce(sum(m.sample_count) filter (where m.scope = 'subtree' and r.is_always_root), 0)::bigint
        as least_root_samples,
    coalesce(sum(m.sample_count) filter (where m.scope = 'subtree' and r.organization_id is not null), 0)::bigint
        as most_root_samples
from {table} as m
left join roots as r on r.organization_id = m.organization_id
where m.bucket_start >= %(start)s
    and m.bucket_start < %(end)s
