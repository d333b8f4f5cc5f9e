-- Purpose: what a metric was over the stretch before each bucket: rolling average, extremes and percentiles.
-- With the caller's rights. Average and extremes come from those of the buckets, weighted by their samples, and are exact;
-- percentiles are of the averages of the buckets: percentiles of samples do not add up (at raw they are of samples).
-- Plan: that of server_metrics for the range and one window before it; then memory only.
create or replace function resmon.rolling(
    p_server_ids integer[],
    p_metric text,
    p_window interval,
    p_from timestamptz,
    p_to timestamptz,
    p_granularity text default 'auto',
    p_now timestamptz default now()
)
returns table (
    granularity text,
    bucket_start timestamptz,
    bucket_end timestamptz,
    server_id integer,
    server_name text,
    metric text,
    sample_count bigint,
    expected_count bigint,
    value_avg double precision,
    value_min double precision,
    value_max double precision,
    value_p50 double precision,
    value_p95 double precision,
    value_p99 double precision
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_series constant integer := tier.checked_count('resmon.rolling', 'p_server_ids', p_server_ids);
    v_metric constant text := tier.checked_name(
        'resmon.rolling', 'p_metric', p_metric,
        '{cpu_pct,memory_used_bytes,disk_used_bytes,network_in_bytes_per_second,network_out_bytes_per_second}'
    );
    v_granularity text := tier.checked_granularity(
        'resmon.rolling', 'tier.metrics_', '{auto,raw,1min,5min,1hour,1day}', p_granularity, p_from, p_to, 1000, v_series
    );
    v_window_seconds constant double precision := extract(epoch from p_window);
    v_window constant interval := make_interval(secs => v_window_seconds);
    v_width interval := tier.width_of(v_granularity);
    v_before interval;
begin
    if p_window is null or not isfinite(p_window) or v_window_seconds <= 0 then
        perform tier.refuse(
            'resmon.rolling', 'p_window', 'is ' || coalesce(p_window::text, 'null'), 'Give a length, for example interval ''1 hour''.'
        );
    end if;
    if p_granularity = 'auto' then
        -- A window shorter than the buckets asks for finer ones.
        v_granularity := case
            when v_width <= v_window then v_granularity
            when v_window >= interval '1 hour' then '1hour'
            when v_window >= interval '5 minutes' then '5min'
            else '1min'
        end;
        v_width := tier.width_of(v_granularity);
    end if;
    if v_window < v_width then
        perform tier.refuse(
            'resmon.rolling', 'p_window', format('(%s) is shorter than a bucket of %s', p_window, v_granularity),
            format('At least %s; or a finer granularity.', v_width)
        );
    end if;
    if v_series * (extract(epoch from p_to - p_from) / coalesce(extract(epoch from v_width), 30))
        * (v_window_seconds / coalesce(extract(epoch from v_width), 30)::double precision) > 20000000
    then
        perform tier.refuse(
            'resmon.rolling', 'p_window', format('(%s) at %s would look at too many values', p_window, v_granularity),
            'Buckets times buckets per window may be 20,000,000 over all servers: ask for a coarser granularity, a shorter window or range, or fewer servers.'
        );
    end if;
    -- The window of a bucket ends with it.
    v_before := v_window - coalesce(v_width, interval '1 microsecond');

    -- The name is one of the list above.
    return query execute format(
        $query$
            with series as (
                select
                    m.bucket_start,
                    max(m.bucket_end) as bucket_end,
                    m.server_id,
                    max(m.server_name) as server_name,
                    sum(m.sample_count)::bigint as sample_count,
                    sum(m.expected_count)::bigint as expected_count,
                    sum(m.sample_count) filter (where m.%1$I is not null) as weight,
                    sum(m.%1$I * m.sample_count) as total,
                    min(m.%2$I) as lowest,
                    max(m.%3$I) as highest
                from resmon.server_metrics($1, $2 - $6, $3, $4, 1000, true, $7) as m
                group by
                    m.bucket_start,
                    m.server_id
            ),
            windows as (
                select
                    s.bucket_start,
                    s.bucket_end,
                    s.server_id,
                    s.server_name,
                    sum(s.sample_count) over w as sample_count,
                    sum(s.expected_count) over w as expected_count,
                    sum(s.total) over w / nullif(sum(s.weight) over w, 0)::double precision as mean,
                    min(s.lowest) over w as lowest,
                    max(s.highest) over w as highest,
                    array_agg(s.total / nullif(s.weight, 0)) over w as averages
                from series as s
                window w as (
                    partition by s.server_id
                    order by s.bucket_start
                    range between $6 preceding and current row
                )
            )
            select
                $4,
                w.bucket_start,
                w.bucket_end,
                w.server_id,
                w.server_name,
                $5,
                w.sample_count::bigint,
                w.expected_count::bigint,
                least(greatest(w.mean, w.lowest), w.highest),
                w.lowest,
                w.highest,
                p.found[1],
                p.found[2],
                p.found[3]
            from windows as w
            cross join lateral (
                select percentile_cont(array[0.5, 0.95, 0.99]) within group (order by a.average) as found
                from unnest(w.averages) as a (average)
            ) as p
            where w.bucket_start >= $2
        $query$,
        v_metric || '_avg',
        v_metric || '_min',
        v_metric || '_max'
    ) using p_server_ids, p_from, p_to, v_granularity, v_metric, v_before, p_now;
end
$$;

comment on function resmon.rolling(integer[], text, interval, timestamptz, timestamptz, text, timestamptz) is
'A metric over the window that ends with each bucket of [p_from, p_to): one row per server and bucket, in no order. Average, lowest and highest are those of the samples; percentiles are of the averages of the buckets in the window, at raw of the samples.
p_server_ids: servers; ids that do not exist, or that the caller may not see, give no rows.
p_metric: cpu_pct, memory_used_bytes, disk_used_bytes, network_in_bytes_per_second, network_out_bytes_per_second.
p_window: length of the window, at least a bucket; a day is 24 hours. The first windows reach back before p_from.
p_from: start of the range, part of it.
p_to: end of the range, not part of it.
p_granularity: raw, 1min, 5min, 1hour or 1day; auto: as in server_metrics with 1000 points, and no coarser than the window.
p_now: as in server_metrics.
granularity: that of the buckets.
bucket_start: start of the bucket that ends the window, UTC; at raw the instant of the sample.
bucket_end: end of the bucket and of the window.
sample_count: samples (count) in the window.
expected_count: scheduled samples (count) in the window; null at raw.
value_avg: mean in the window, in the unit of the metric; null when nothing was measured.
value_min: lowest sample in the window.
value_max: highest sample in the window.
value_p50: median of the averages of the buckets in the window.
value_p95: 95th percentile of these.
value_p99: 99th percentile of these.';
