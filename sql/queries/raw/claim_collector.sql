-- Writes the row of a collector that has just taken its lock; replaces that of a dead one. The same run that lost its
-- connection and comes back keeps what it said of itself.
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
    started_at = case when stored.run_id = excluded.run_id then stored.started_at else excluded.started_at end,
    heartbeat_at = excluded.heartbeat_at,
    lease_renewed_at = excluded.lease_renewed_at,
    fleet_open_at = case when stored.run_id = excluded.run_id then stored.fleet_open_at end,
    is_stop_requested = stored.run_id = excluded.run_id and stored.is_stop_requested,
    stop_requested_at = case when stored.run_id = excluded.run_id then stored.stop_requested_at end,
    ended_at = null,
    end_reason = null
