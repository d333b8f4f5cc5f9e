-- Inserts stretches of coverage, or extends those that began at the same instant.
-- Plan: function scan on unnest, one primary key probe a row.
insert into raw.collection_coverage as stored (server_id, started_at, ended_at, cause, instant_count)
select server_id, started_at, ended_at, cause, instant_count
from unnest(
    %(server_id)s::integer[],
    %(started_at)s::timestamptz[],
    %(ended_at)s::timestamptz[],
    %(cause)s::text[],
    %(instant_count)s::integer[]
) as batch (server_id, started_at, ended_at, cause, instant_count)
order by server_id, started_at
on conflict (server_id, started_at) do update set
    ended_at = excluded.ended_at,
    cause = excluded.cause,
    instant_count = excluded.instant_count
where stored.ended_at <= excluded.ended_at
