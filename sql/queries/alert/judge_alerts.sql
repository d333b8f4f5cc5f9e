-- What is to be judged of alerts and their notices at %(now)s: messages that wait, for how long, and those that have waited for
-- longer than %(longest_wait)s; changes that were due a minute ago and are not decided; subjects with several open alerts of a
-- rule; open alerts that no condition knows of. Plan: partial indexes of what waits and of open alerts, primary key of conditions.
select
    w.oldest_wait_seconds,
    w.late_count,
    u.unsettled_count,
    o.doubled_count,
    o.stray_count
from (
    select
        coalesce(extract(epoch from %(now)s::timestamptz - min(d.created_at)), 0)::double precision as oldest_wait_seconds,
        count(*) filter (where d.created_at < %(now)s::timestamptz - %(longest_wait)s::interval) as late_count
    from alert.deliveries as d
    where d.next_attempt_at is not null
) as w
cross join (
    select count(*) as unsettled_count
    from alert.outbox as x
    where x.settled_at is null
        and x.due_at < %(now)s::timestamptz - interval '1 minute'
) as u
cross join (
    select
        count(*) - count(distinct (a.rule, a.subject)) as doubled_count,
        count(*) filter (where c.state is distinct from 'firing' or c.alert_id is distinct from a.alert_id) as stray_count
    from alert.alerts as a
    left join alert.conditions as c
        on c.rule = a.rule
        and c.subject = a.subject
    where a.resolved_at is null
) as o
