-- Purpose: samples or computed statistics of servers page by page, in an order that rows which come later do not disturb.
-- With the caller's rights. Time comes first in the order, so that a page reads a slice of time that holds about as many
-- rows as are wanted; a slice that gives too few is followed by one twice as long.
-- Plan: per slice that of server_metrics, and a sort of its rows.
create or replace function resmon.server_metrics_page(
    p_server_ids integer[],
    p_from timestamptz,
    p_to timestamptz,
    p_granularity text,
    p_after text default null,
    p_limit integer default 1000
)
returns table (
    granularity text,
    bucket_start timestamptz,
    bucket_end timestamptz,
    server_id integer,
    server_name text,
    organization_id integer,
    organization_name text,
    sample_count integer,
    expected_count integer,
    cpu_pct_avg double precision,
    cpu_pct_min double precision,
    cpu_pct_max double precision,
    cpu_pct_p50 double precision,
    cpu_pct_p95 double precision,
    cpu_pct_p99 double precision,
    memory_used_bytes_avg double precision,
    memory_used_bytes_min double precision,
    memory_used_bytes_max double precision,
    memory_used_bytes_p50 double precision,
    memory_used_bytes_p95 double precision,
    memory_used_bytes_p99 double precision,
    disk_used_bytes_avg double precision,
    disk_used_bytes_min double precision,
    disk_used_bytes_max double precision,
    disk_used_bytes_p50 double precision,
    disk_used_bytes_p95 double precision,
    disk_used_bytes_p99 double precision,
    network_in_bytes_per_second_avg double precision,
    network_in_bytes_per_second_min double precision,
    network_in_bytes_per_second_max double precision,
    network_in_bytes_per_second_p50 double precision,
    network_in_bytes_per_second_p95 double precision,
    network_in_bytes_per_second_p99 double precision,
    network_out_bytes_per_second_avg double precision,
    network_out_bytes_per_second_min double precision,
    network_out_bytes_per_second_max double precision,
    network_out_bytes_per_second_p50 double precision,
    network_out_bytes_per_second_p95 double precision,
    network_out_bytes_per_second_p99 double precision,
    page_key text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
    v_count constant integer := tier.checked_count('resmon.server_metrics_page', 'p_server_ids', p_server_ids);
    v_granularity constant text := tier.checked_name(
        'resmon.server_metrics_page', 'p_granularity', p_granularity, '{raw,1min,5min,1hour,1day}'
    );
    v_left integer := tier.checked_limit('resmon.server_metrics_page', p_limit, 100000);
    v_seconds double precision := tier.checked_range('resmon.server_metrics_page', p_from, p_to);
    v_key text[] := regexp_match(p_after, '^(\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)/(\d{1,9})/(\d{1,9})$');
    v_at timestamptz;
    v_start timestamptz := p_from;
    v_end timestamptz;
    v_width interval;
    v_step interval;
    v_longest interval;
    v_found integer;
begin
    if p_after is not null then
        begin
            v_at := v_key[1]::timestamptz;
        exception when datetime_field_overflow or invalid_datetime_format then
            v_at := null;
        end;
        if v_at is null then
            perform tier.refuse(
                'resmon.server_metrics_page', 'p_after', 'is ' || quote_literal(p_after),
                'Give page_key of the last row of the page before, unchanged, or null for the first page.'
            );
        end if;
        v_start := greatest(p_from, v_at);
    end if;
    v_width := coalesce(tier.width_of(v_granularity), interval '30 seconds');
    -- Not more buckets at a time than server_metrics gives.
    v_longest := 900000 * v_width / greatest(v_count, 1);
    v_step := least(v_longest, ceil(v_left::numeric / greatest(v_count, 1))::double precision * v_width);

    while v_left > 0 and v_start < p_to loop
        v_end := least(p_to, v_start + v_step);
        return query
        select
            m.granularity,
            m.bucket_start,
            m.bucket_end,
            m.server_id,
            m.server_name,
            m.organization_id,
            m.organization_name,
            m.sample_count,
            m.expected_count,
            m.cpu_pct_avg,
            m.cpu_pct_min,
            m.cpu_pct_max,
            m.cpu_pct_p50,
            m.cpu_pct_p95,
            m.cpu_pct_p99,
            m.memory_used_bytes_avg,
            m.memory_used_bytes_min,
            m.memory_used_bytes_max,
            m.memory_used_bytes_p50,
            m.memory_used_bytes_p95,
            m.memory_used_bytes_p99,
            m.disk_used_bytes_avg,
            m.disk_used_bytes_min,
            m.disk_used_bytes_max,
            m.disk_used_bytes_p50,
            m.disk_used_bytes_p95,
            m.disk_used_bytes_p99,
            m.network_in_bytes_per_second_avg,
            m.network_in_bytes_per_second_min,
            m.network_in_bytes_per_second_max,
            m.network_in_bytes_per_second_p50,
            m.network_in_bytes_per_second_p95,
            m.network_in_bytes_per_second_p99,
            m.network_out_bytes_per_second_avg,
            m.network_out_bytes_per_second_min,
            m.network_out_bytes_per_second_max,
            m.network_out_bytes_per_second_p50,
            m.network_out_bytes_per_second_p95,
            m.network_out_bytes_per_second_p99,
            to_char(m.bucket_start, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '/' || m.server_id || '/' || m.organization_id
        from resmon.server_metrics(p_server_ids, v_start, v_end, v_granularity, p_live => false) as m
        where v_at is null
            or (m.bucket_start, m.server_id, m.organization_id) > (v_at, v_key[2]::integer, v_key[3]::integer)
        order by
            m.bucket_start,
            m.server_id,
            m.organization_id
        limit v_left;
        get diagnostics v_found = row_count;
        v_left := v_left - v_found;
        v_start := v_end;
        v_step := least(v_longest, v_step * 2);
    end loop;
end
$$;

comment on function resmon.server_metrics_page(integer[], timestamptz, timestamptz, text, text, integer) is
'A page of samples or computed statistics of one or many servers in [p_from, p_to), by bucket_start, server_id and organization_id; page_key of the last row is where the next page begins. A page with fewer rows than p_limit is the last. Rows that come or are computed again between two pages repeat none and hide none of those that were there. What no tier has yet is not in it.
p_server_ids: servers; ids that do not exist, or that the caller may not see, give no rows. Keep them the same from page to page.
p_from: start of the range, part of it.
p_to: end of the range, not part of it.
p_granularity: raw, 1min, 5min, 1hour or 1day.
p_after: page_key of the last row that was read; null for the first page.
p_limit: rows per page, 1 to 100000.
granularity: that of the rows: raw, 1min, 5min, 1hour or 1day.
bucket_start: start of the bucket, UTC; at raw the instant of the sample.
bucket_end: end of the bucket, not part of it; at raw the instant of the sample.
server_name: its name now; null when the caller may not see the server any more.
organization_id: organization that owned the server then; a server that moved within a bucket has two rows.
organization_name: its name now.
sample_count: samples (count) in the bucket; 1 at raw.
expected_count: scheduled samples (count) in the bucket; null at raw.
page_key: place of the row in the order; pass it as p_after, unchanged.';
