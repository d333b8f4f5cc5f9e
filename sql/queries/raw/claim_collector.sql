-- Writes the row of a collector that has just taken its lock; replaces that of a dead one.
-- Plan: one primary key probe.
insert into ops.collector as stored (
    shard, hour, run_id, host, pid, backend_pid, started_at, heartbeat_at, lease_renewed_at
)
values (
    %(shard)s, %(hour)s, %(run_id)s, %(host)s, %(pid)s, pg_backend_pid(), %(now)s, %(now)s, %(now)s
)
on conflict (shard, hour) do update set
    run_id = excluded.run_id,
    host = excluded.host,
    pid = excluded.pid,
    backend_pid = excluded.backend_pid,
    started_at = excluded.started_at,
    heartbeat_at = excluded.heartbeat_at,
    lease_renewed_at = excluded.lease_renewed_at,
    fleet_open_at = null,
    is_stop_requested = false,
    stop_requested_at = null,
    ended_at = null,
    end_reason = null
