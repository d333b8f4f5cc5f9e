-- Tags of servers, which settings of rules may go by. Plan: primary key per server.
select
    s.server_id,
    s.tags
from inventory.servers as s
where s.server_id = any(%(server_ids)s::integer[])
    and s.tags <> '{}'
