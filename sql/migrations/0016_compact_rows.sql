-- Purpose: half the index and half the row of the fine tiers: time last in the primary keys; a statistic of 1min that follows from its minimum and maximum is null.
-- Locks: access exclusive on the four tier tables while their primary keys are built again (about a minute per 50 million rows); raw and its writers go on.
-- Undo: alter table ... drop constraint ..._pkey, add primary key (server_id, bucket_start, organization_id) on the four; compute 1min again, or fill its nulls by tier.derived.

-- An hour's rows of a server were inserted between its rows of before and, sorted by time first and organization last,
-- split pages in halves: 70 bytes a row. With time last they extend a run of equal prefixes, which PostgreSQL splits
-- at its end: 36 bytes. A server has one organization, rarely two: a range of time is still one short index scan.
alter table tier.metrics_1min drop constraint metrics_1min_pkey;
alter table tier.metrics_1min add primary key (server_id, organization_id, bucket_start);
alter table tier.metrics_5min drop constraint metrics_5min_pkey;
alter table tier.metrics_5min add primary key (server_id, organization_id, bucket_start);
alter table tier.metrics_1hour drop constraint metrics_1hour_pkey;
alter table tier.metrics_1hour add primary key (server_id, organization_id, bucket_start);
alter table tier.metrics_1day drop constraint metrics_1day_pkey;
alter table tier.metrics_1day add primary key (server_id, organization_id, bucket_start);

comment on table tier.metrics_1min is 'Statistics per server, organization and minute, exact, from raw samples. A null beside a minimum that is not null follows from minimum and maximum: read resmon.metric_aggregations, or tier.derived. Partitioned by day; kept 30 days by default.';

do $$
declare
    v_column record;
begin
    for v_column in
        select
            a.attname as name,
            col_description(a.attrelid, a.attnum) as text
        from pg_attribute as a
        where a.attrelid = 'tier.metrics_1min'::regclass
            and a.attname ~ '_(avg|max|p50|p95|p99)$'
    loop
        execute format(
            'comment on column tier.metrics_1min.%I is %L',
            v_column.name,
            replace(
                v_column.text,
                'null when nothing was measured.',
                case
                    when v_column.name ~ '_max$' then 'null when it is the minimum, or that is null.'
                    when v_column.name ~ '_avg$' then 'null when it is the median, or that is null.'
                    else 'null when it lies on the line from minimum to maximum, or these are null.'
                end
            )
        );
    end loop;
end
$$;
