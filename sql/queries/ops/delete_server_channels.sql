-- Forgets how servers are read: the next session is one that is kept open. Returns the servers that were remembered.
-- Plan: primary key per server.
delete from ops.server_channel
where server_id = any(%(server_ids)s::integer[])
returning server_id;
