-- Stores what became of conditions whose rows the transaction holds, and brings the worst value of their open alerts up to date.
-- Plan: function scan on unnest, one primary key probe a row in conditions, and one in alerts where an alert is open.
with batch as (
    select * from unnest(
        %(rule)s::text[],
        %(subject)s::text[],
        %(server_id)s::integer[],
        %(organization_id)s::integer[],
        %(state)s::text[],
        %(level)s::smallint[],
        %(since)s::timestamptz[],
        %(last_at)s::timestamptz[],
        %(last_value)s::double precision[],
        %(peak_value)s::double precision[],
        %(higher_level)s::smallint[],
        %(higher_since)s::timestamptz[],
        %(lower_level)s::smallint[],
        %(lower_since)s::timestamptz[],
        %(openings)s::text[],
        %(alert_id)s::bigint[]
    ) as batch (
        rule,
        subject,
        server_id,
        organization_id,
        state,
        level,
        since,
        last_at,
        last_value,
        peak_value,
        higher_level,
        higher_since,
        lower_level,
        lower_since,
        openings,
        alert_id
    )
),
stored as (
    update alert.conditions as c
    set
        server_id = batch.server_id,
        organization_id = batch.organization_id,
        state = batch.state,
        level = batch.level,
        since = batch.since,
        last_at = batch.last_at,
        last_value = batch.last_value,
        peak_value = batch.peak_value,
        higher_level = batch.higher_level,
        higher_since = batch.higher_since,
        lower_level = batch.lower_level,
        lower_since = batch.lower_since,
        openings = batch.openings::timestamptz[],
        alert_id = batch.alert_id
    from batch
    where c.rule = batch.rule and c.subject = batch.subject
)
update alert.alerts as a
set peak_value = batch.peak_value
from batch
where a.alert_id = batch.alert_id
    and batch.state = 'firing'
    and a.peak_value is distinct from batch.peak_value;
