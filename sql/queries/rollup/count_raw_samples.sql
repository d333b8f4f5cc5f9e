-- Raw rows in [%(begin)s, %(end)s) per server, organization and slot, each %(width)s long and counted from %(start)s: what must
-- be kept, what is read at a time, and whose samples they are.
-- Plan: parallel scan of what the time index leaves of the day partition, hash aggregate.
select
    counted.server_id,
    counted.organization_id,
    (extract(epoch from counted.slot_start - %(start)s) / extract(epoch from %(width)s::interval))::integer as slot,
    counted.sample_count
from (
    select
        server_id,
        organization_id,
        date_bin(%(width)s, collected_at, %(start)s) as slot_start,
        count(*) as sample_count
    from raw.server_resource_metrics
    where collected_at >= %(begin)s
        and collected_at < %(end)s
    group by
        1,
        2,
        3
) as counted
