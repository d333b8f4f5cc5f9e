-- Bytes of each organization of the demo fleet with all below it, from %(month_start)s to %(start)s.
-- Plan: primary key of the daily rollup, a range per organization.
select
    o.organization_id,
    coalesce(sum(m.network_in_bytes), 0)::bigint as network_in_bytes,
    coalesce(sum(m.network_out_bytes), 0)::bigint as network_out_bytes
from demo.organizations as o
left join rollup.organization_metrics_1day as m
    on m.organization_id = o.organization_id
    and m.scope = 'subtree'
    and m.bucket_start >= %(month_start)s
    and m.bucket_start < %(start)s
group by o.organization_id
order by o.organization_id
