-- Writes changed_episodes: new ones, and what has become of those that are stored. Plan: primary key of each.
insert into anomaly.anomaly_reports ({columns})
select {columns}
from pg_temp.changed_episodes
on conflict (server_id, metric, detector, kind, started_at, revision) do update
set
    ended_at = excluded.ended_at,
    peak_at = excluded.peak_at,
    superseded_at = excluded.superseded_at,
    peak_value = excluded.peak_value,
    change_percent = excluded.change_percent,
    score = excluded.score,
    has_late_input = excluded.has_late_input,
    severity = excluded.severity,
    reason = excluded.reason
