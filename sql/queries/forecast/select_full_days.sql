-- When file systems of collected servers will be full, as the method that the product trusts has it on the day %(day)s.
-- Plan: primary key's time index of one partition, primary key of servers.
select
    f.server_id,
    s.name as server_name,
    s.organization_id,
    f.mount,
    f.reach_100_on as full_on,
    f.reach_100_earliest as earliest,
    f.reach_100_latest as latest,
    f.reach_100_reason as untold_reason,
    f.last_value as used_bytes,
    f.capacity as capacity_bytes
from forecast.capacity_forecasts as f
inner join inventory.servers as s on s.server_id = f.server_id
where f.bucket_start = %(day)s
    and f.metric = 'filesystem_used_bytes'
    and f.method = 'best'
    and s.state = 'active'
