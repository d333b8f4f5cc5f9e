-- Drops the pin of a server; returns a row when there was one.
-- Plan: one probe of the index of current pins.
update inventory.host_keys
set dropped_at = greatest(%(now)s, pinned_at)
where server_id = %(server_id)s and dropped_at is null
returning host_key_id;
