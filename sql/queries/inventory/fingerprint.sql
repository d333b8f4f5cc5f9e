-- Changes when select_servers would: how many servers there are, and the sum of a hash of all that is known of each.
-- Plan: one pass over servers; ten thousand rows at full scale.
select
    count(*),
    coalesce(
        sum(hashtextextended(row(s.*, o.name, k.key_type, k.key, c.since, c.reason)::text, 0)), 0
    )
from inventory.servers as s
inner join inventory.organizations as o on o.organization_id = s.organization_id
left join inventory.host_keys as k on k.server_id = s.server_id and k.dropped_at is null
left join ops.server_channel as c on c.server_id = s.server_id;
