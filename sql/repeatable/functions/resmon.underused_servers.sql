-- Purpose: servers that are larger than what they do asks for, by the newest day of forecast.headroom.
-- With the caller's rights. Plan: time index of the one partition of that day.
create or replace function resmon.underused_servers(
    p_organization_id integer default null,
    p_limit integer default 20
)
returns table (
    server_id integer,
    server_name text,
    organization_id integer,
    organization_name text,
    bucket_start timestamptz,
    cpu_count integer,
    suggested_cpu_count integer,
    memory_total_bytes double precision,
    suggested_memory_bytes double precision,
    cpu_pct_p95_28d double precision,
    memory_used_bytes_p95_28d double precision,
    headroom_ratio double precision,
    confidence_ratio double precision,
    suggestion text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit constant integer := tier.checked_limit('resmon.underused_servers', p_limit, 10000);
begin
    return query execute $query$
        select
            h.server_id,
            h.server_name,
            h.organization_id,
            h.organization_name,
            h.bucket_start,
            h.cpu_count::integer,
            h.suggested_cpu_count::integer,
            h.memory_total_bytes,
            h.suggested_memory_bytes,
            h.cpu_pct_p95_28d,
            h.memory_used_bytes_p95_28d,
            h.headroom_ratio,
            h.confidence_ratio,
            h.suggestion
        from resmon.headroom as h
        where h.bucket_start = $1
            and h.verdict = 'underused'
            and ($2 is null or h.organization_id in (select b.id from resmon.organization_subtree($2) as b (id)))
        order by
            h.headroom_ratio desc,
            h.server_id
        limit $3
    $query$ using tier.computed_until('forecast.headroom') - interval '24 hours', p_organization_id, v_limit;
end
$$;

comment on function resmon.underused_servers(integer, integer) is
'Servers that are larger than what they do asks for, and what size would fit, most room first; the rule is in docs/analytics.md. Of the newest day that was computed.
p_organization_id: only servers that belonged to this organization or to one below it on that day; null: all.
p_limit: servers, 1 to 10000.
organization_id: organization that owned the server on that day.
bucket_start: start of the UTC day that was judged.
cpu_count: cores (count) that it has.
suggested_cpu_count: cores (count) that would put the p95 of CPU at its target.
memory_total_bytes: bytes that it has.
suggested_memory_bytes: bytes that would put the p95 of memory at its target.
cpu_pct_p95_28d: 95th percentile over 28 days of those of the hours, percent.
memory_used_bytes_p95_28d: the same of memory in use, bytes.
headroom_ratio: headroom of the limiting resource as a share of its target, at most 1.
confidence_ratio: how well it is known, 0 to 1; as in the view headroom.
suggestion: in words; null when the present size does.';
