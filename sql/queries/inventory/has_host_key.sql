-- Whether this key is the pin in force of a server.
-- Plan: one probe of the index of current pins.
select exists (
    select
    from inventory.host_keys
    where server_id = %(server_id)s
        and key = %(key)s
        and dropped_at is null
);
