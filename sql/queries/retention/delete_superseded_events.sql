-- In Dagster's database: at most %(limit)s events without a run that nobody needs, oldest first. Those are, before %(cutoff)s,
-- whatever a later event of the same asset and partition has replaced; and, before %(vouched_since)s, those of hours even if
-- they are the newest (days are few, theirs stay for ever).
-- Plan: events without a run by idx_events_by_run_id, each probing idx_events_by_asset(_partition) once.
with superseded as (
    select old.id
    from event_logs as old
    where old.run_id = ''
        and old.timestamp < %(cutoff)s::timestamptz at time zone 'UTC'
        and (
            old.asset_key is null
            or exists (
                select
                from event_logs as newer
                where newer.asset_key = old.asset_key
                    and newer.dagster_event_type = old.dagster_event_type
                    and newer.partition = old.partition
                    and newer.id > old.id
            )
            or (
                old.partition is null
                and exists (
                    select
                    from event_logs as newer
                    where newer.asset_key = old.asset_key
                        and newer.dagster_event_type = old.dagster_event_type
                        and newer.partition is null
                        and newer.id > old.id
                )
            )
            or (
                old.timestamp < %(vouched_since)s::timestamptz at time zone 'UTC'
                and old.partition like '____-__-__-__:__'
            )
        )
    order by old.id
    limit %(limit)s
),
untagged as (
    delete from asset_event_tags
    using superseded
    where asset_event_tags.event_id = superseded.id
)
delete from event_logs
using superseded
where event_logs.id = superseded.id
