-- Renews the heartbeat of a collector; returns its orders, whether the next hour's collector has taken over, and
-- whether that of the hour before still runs. Plan: three primary key probes.
with beaten as (
    update ops.collector set heartbeat_at = %(now)s
    where shard = %(shard)s and hour = %(hour)s
    returning is_stop_requested, lease_renewed_at
)
select
    beaten.is_stop_requested,
    beaten.lease_renewed_at,
    exists (
        select from ops.collector as successor
        where successor.shard = %(shard)s
            and successor.hour = %(hour)s::timestamptz + interval '1 hour'
            and successor.fleet_open_at is not null
            and successor.ended_at is null
            and successor.heartbeat_at > %(now)s::timestamptz - interval '30 seconds'
    ),
    exists (
        select from ops.collector as predecessor
        where predecessor.shard = %(shard)s
            and predecessor.hour = %(hour)s::timestamptz - interval '1 hour'
            and predecessor.ended_at is null
            and predecessor.heartbeat_at > %(now)s::timestamptz - interval '30 seconds'
    )
from beaten
