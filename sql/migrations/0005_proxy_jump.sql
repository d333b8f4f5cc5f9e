-- Purpose: jump hosts of a server, passed in order before it is reached.
-- Locks: access exclusive on inventory.servers for a moment; no rewrite, the new column is null everywhere.
-- Undo: alter table inventory.servers drop column proxy_jump;

alter table inventory.servers
    add column proxy_jump text
    constraint servers_proxy_jump_is_said check (proxy_jump not in ('', 'none'));
comment on column inventory.servers.proxy_jump is 'Jump hosts in the order they are passed, as OpenSSH writes them: [user@]host[:port][,...]; null means a direct connection.';
