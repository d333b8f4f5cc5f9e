-- The one row of the demo fleet; nothing when there is one already. Plan: one row.
insert into demo.fleet (fleet_id, seed, server_count, starts_at, ends_at, made_until, created_at)
values (1, %(seed)s, %(server_count)s, %(starts_at)s, %(ends_at)s, %(starts_at)s, %(now)s)
on conflict (fleet_id) do nothing
returning fleet_id
