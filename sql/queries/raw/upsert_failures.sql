-- Marks servers that could not be read; their last values stay. A failure that is not final keeps the status, and shows
-- its cause; a server that never answered has none (null) until its retries are used up. Three failures in a row make it
-- `error` all the same (a server that answers and breaks in turn).
-- Plan: function scan on unnest, one primary key probe a row; heap-only updates (no index on a changing column).
insert into raw.server_status as stored (
    server_id,
    status,
    cause,
    cause_detail,
    consecutive_failures,
    last_attempt_at,
    commit_sequence
)
select
    server_id,
    case when is_final or failure_count >= 3 then 'error' end,
    cause,
    detail,
    failure_count,
    attempted_at,
    %(commit_sequence)s::bigint
from unnest(
    %(server_id)s::integer[],
    %(attempted_at)s::timestamptz[],
    %(cause)s::text[],
    %(detail)s::text[],
    %(is_final)s::boolean[],
    %(failure_count)s::integer[]
) as failure (server_id, attempted_at, cause, detail, is_final, failure_count)
order by server_id
on conflict (server_id) do update set
    status = case
        when stored.consecutive_failures + excluded.consecutive_failures >= 3 then 'error'
        else coalesce(excluded.status, stored.status)
    end,
    cause = excluded.cause,
    cause_detail = excluded.cause_detail,
    consecutive_failures = stored.consecutive_failures + excluded.consecutive_failures,
    last_attempt_at = excluded.last_attempt_at,
    commit_sequence = excluded.commit_sequence
where stored.last_attempt_at < excluded.last_attempt_at
