-- Purpose: episodes in which something on a server was unlike itself, as they stand now. Filter on started_at.
create or replace view resmon.anomaly_reports
with (security_invoker = true)
as
select
    a.started_at,
    a.ended_at,
    a.ended_at is null as is_open,
    a.server_id,
    s.name as server_name,
    a.organization_id,
    o.name as organization_name,
    a.metric,
    a.kind,
    a.detector,
    a.severity,
    a.score::double precision as score,
    a.peak_at,
    a.peak_value,
    a.baseline,
    a.usual_low,
    a.usual_high,
    a.change_percent,
    a.reason,
    a.quiet_reason,
    a.has_late_input,
    a.revision
from (
    select
        r.started_at,
        r.ended_at,
        r.server_id,
        r.organization_id,
        r.metric,
        r.kind,
        r.detector,
        r.severity,
        r.score,
        r.peak_at,
        r.peak_value,
        r.baseline,
        r.usual_low,
        r.usual_high,
        r.change_percent,
        r.reason,
        r.quiet_reason,
        r.has_late_input,
        r.revision
    from anomaly.anomaly_reports as r
    where r.superseded_at is null
    union all
    -- A drift has a row per day that looked at it; the newest says what is known.
    (
        select distinct on (d.server_id, d.metric, d.detector, d.kind, d.started_at, d.revision)
            d.started_at,
            d.ended_at,
            d.server_id,
            d.organization_id,
            d.metric,
            d.kind,
            d.detector,
            d.severity,
            d.score,
            d.peak_at,
            d.peak_value,
            d.baseline,
            d.usual_low,
            d.usual_high,
            d.change_percent,
            d.reason,
            d.quiet_reason,
            d.has_late_input,
            d.revision
        from anomaly.degradation_reports as d
        order by d.server_id, d.metric, d.detector, d.kind, d.started_at, d.revision, d.bucket_start desc
    )
) as a
left join inventory.servers as s on s.server_id = a.server_id
left join inventory.organizations as o on o.organization_id = a.organization_id;

comment on view resmon.anomaly_reports is 'Episodes of unusual behaviour and slow degradation, one row each: of one metric, or (metric *) of several metrics of a server together. Replaced verdicts are left out.
Key: started_at, server_id, metric, detector, kind.
References: server_id to servers; organization_id to organizations.';
comment on column resmon.anomaly_reports.started_at is 'Start of the time step in which it was noticed, UTC. Filter on it, so that only its partitions are read.';
comment on column resmon.anomaly_reports.ended_at is 'First instant that is usual again, not part of it; null while it is open.';
comment on column resmon.anomaly_reports.is_open is 'Whether it goes on.';
comment on column resmon.anomaly_reports.server_id is 'Identifier of the server.';
comment on column resmon.anomaly_reports.server_name is 'Its name now.';
comment on column resmon.anomaly_reports.organization_id is 'Organization that owned the server when it began.';
comment on column resmon.anomaly_reports.organization_name is 'Its name now.';
comment on column resmon.anomaly_reports.metric is 'cpu_pct, memory_used_bytes, disk_used_bytes, network_in_bytes_per_second, network_out_bytes_per_second; * for several metrics together.';
comment on column resmon.anomaly_reports.kind is 'deviation: unlike itself within minutes. level_drift, spread_drift: slow degradation over days.';
comment on column resmon.anomaly_reports.detector is 'Which detector says so: default, drift (slow degradation), or ratio (more than 50 % away from the mean of the hour before).';
comment on column resmon.anomaly_reports.severity is 'info, warning or critical; never above info when it is quiet.';
comment on column resmon.anomaly_reports.score is 'How unusual its worst time step was, 0 to 1.';
comment on column resmon.anomaly_reports.peak_at is 'Start of the time step that was furthest from what is usual.';
comment on column resmon.anomaly_reports.peak_value is 'Value then, in the unit of the metric; null for *.';
comment on column resmon.anomaly_reports.baseline is 'What was usual when it began, in the unit of the metric; null when not known.';
comment on column resmon.anomaly_reports.usual_low is 'Lower end of what was usual; null when not known.';
comment on column resmon.anomaly_reports.usual_high is 'Upper end of what was usual; null when not known.';
comment on column resmon.anomaly_reports.change_percent is 'From the baseline to the peak, percent of the baseline; null when the baseline is 0 or not known.';
comment on column resmon.anomaly_reports.reason is 'Why, in words.';
comment on column resmon.anomaly_reports.quiet_reason is 'Why nobody is to be woken: maintenance, low_coverage; null otherwise.';
comment on column resmon.anomaly_reports.has_late_input is 'Samples of that hour came after it was judged.';
comment on column resmon.anomaly_reports.revision is '1, or more when a person had it computed again and the verdict differed.';
