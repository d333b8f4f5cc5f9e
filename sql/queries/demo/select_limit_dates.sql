-- Days on which file systems of the demo fleet reach a limit, as forecast from the day %(day)s. Plan: primary key.
select
    f.server_id,
    f.mount,
    l.limit_pct,
    l.reached_on,
    l.earliest,
    l.latest,
    l.reason
from forecast.capacity_forecasts as f
inner join demo.servers as d on d.server_id = f.server_id
cross join lateral (
    values
    (85, f.reach_85_on, f.reach_85_earliest, f.reach_85_latest, f.reach_85_reason),
    (90, f.reach_90_on, f.reach_90_earliest, f.reach_90_latest, f.reach_90_reason),
    (100, f.reach_100_on, f.reach_100_earliest, f.reach_100_latest, f.reach_100_reason)
) as l (limit_pct, reached_on, earliest, latest, reason)
where f.bucket_start = %(day)s
    and f.metric = 'filesystem_used_bytes'
    and f.method = 'best'
order by 1, 2, 3
