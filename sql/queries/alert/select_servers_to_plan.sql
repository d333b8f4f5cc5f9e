-- Servers that were not removed, as far as notices depend on them.
-- Plan: scan of inventory.servers.
select
    server_id,
    name,
    organization_id,
    host,
    state = 'active' as is_active,
    tags,
    proxy_jump
from inventory.servers
where state <> 'deleted'
