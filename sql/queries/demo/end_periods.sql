-- Servers of the demo fleet were never active from %(until)s on: their days are taken away from the newest to the oldest.
-- Plan: primary key of server_period, two probes per server.
with cut as (
    delete from inventory.server_period as p
    using demo.servers as d
    where p.server_id = d.server_id
        and p.valid_from >= %(until)s
        and p.valid_to < 'infinity'
)
update inventory.server_period as p
set valid_to = %(until)s
from demo.servers as d
where p.server_id = d.server_id
    and p.state = 'active'
    and p.valid_from < %(until)s
    and p.valid_to > %(until)s
