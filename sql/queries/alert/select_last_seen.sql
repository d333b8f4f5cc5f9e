-- When servers were last asked and last answered, with uptime and failures in a row; servers that were never asked have no row.
-- Plan: one primary key probe a server, or one pass over server_status for a whole fleet.
select server_id, last_attempt_at, last_metrics_at, uptime_seconds, consecutive_failures
from raw.server_status
where server_id = any(%(server_ids)s::integer[]);
