-- Servers active just before %(end)s with their cores: the newest number in raw of the day [%(start)s, %(end)s), else the one
-- that the last week of headroom has stored, that of the day itself too, else the newest known. The second keeps a day
-- the same that is computed again after its raw has gone.
-- Plan: server_period by its time index; per server a probe of the raw primary key, backwards, in one day partition, and
-- only without a sample a probe of headroom by its primary key; server_status by its primary key.
select
    p.server_id,
    p.organization_id,
    coalesce(cores.cpu_count, kept.cpu_count, s.cpu_count) as cpu_count
from inventory.server_period as p
left join raw.server_status as s on s.server_id = p.server_id
left join lateral (
    select r.cpu_count
    from raw.server_resource_metrics as r
    where r.server_id = p.server_id
        and r.collected_at >= %(start)s
        and r.collected_at < %(end)s
        and r.cpu_count > 0
    order by r.collected_at desc
    limit 1
) as cores on true
left join lateral (
    select h.cpu_count
    from forecast.headroom as h
    where cores.cpu_count is null
        and h.server_id = p.server_id
        and h.bucket_start > %(start)s::timestamptz - interval '7 days'
        and h.bucket_start <= %(start)s
        and h.cpu_count is not null
    order by h.bucket_start desc
    limit 1
) as kept on true
where p.state = 'active'
    and p.valid_from < %(end)s
    and p.valid_to >= %(end)s
