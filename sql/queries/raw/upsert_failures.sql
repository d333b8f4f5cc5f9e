-- Marks servers that could not be read; their last values stay. A failure that is not final keeps the status.
-- Three failures in a row make it `error` all the same (a server that answers and breaks in turn). A server that
-- never answered has no row before its first final failure. Plan: one primary key probe a row.
with batch as (
    select * from unnest(
        %(server_id)s::integer[],
        %(attempted_at)s::timestamptz[],
        %(cause)s::text[],
        %(detail)s::text[],
        %(is_final)s::boolean[],
        %(failure_count)s::integer[]
    ) as failure (server_id, attempted_at, cause, detail, is_final, failure_count)
),
opened as (
    insert into raw.server_status as stored (
        server_id, status, cause, cause_detail, consecutive_failures, last_attempt_at
    )
    select server_id, 'error', cause, detail, failure_count, attempted_at
    from batch
    where is_final
    order by server_id
    on conflict (server_id) do update set
        status = 'error',
        cause = excluded.cause,
        cause_detail = excluded.cause_detail,
        consecutive_failures = stored.consecutive_failures + excluded.consecutive_failures,
        last_attempt_at = excluded.last_attempt_at
    where stored.last_attempt_at < excluded.last_attempt_at
)
update raw.server_status as stored set
    status = case
        when stored.consecutive_failures + batch.failure_count >= 3 then 'error'
        else stored.status
    end,
    cause = batch.cause,
    cause_detail = batch.detail,
    consecutive_failures = stored.consecutive_failures + batch.failure_count,
    last_attempt_at = batch.attempted_at
from batch
where stored.server_id = batch.server_id
    and not batch.is_final
    and stored.last_attempt_at < batch.attempted_at
