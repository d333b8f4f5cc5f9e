-- In Dagster's database: at most %(limit)s events before %(cutoff)s whose run is gone, oldest first. Dagster deletes a run
-- first and its events after it; a process that ends between the two leaves them to nobody.
-- Plan: primary key up to the first event of the oldest run that is left, of which little is there but events without a run.
with oldest as (
    select coalesce(
        (
            select min(first_event.id)
            from event_logs as first_event
            where first_event.run_id = (select r.run_id from runs as r order by r.id limit 1)
        ),
        9223372036854775807
    ) as id
),
orphaned as (
    select e.id
    from event_logs as e
    where e.id < (select o.id from oldest as o)
        and e.run_id <> ''
        and e.timestamp < %(cutoff)s::timestamptz at time zone 'UTC'
        and not exists (
            select
            from runs as r
            where r.run_id = e.run_id
        )
    order by e.id
    limit %(limit)s
),
untagged as (
    delete from asset_event_tags
    using orphaned
    where asset_event_tags.event_id = orphaned.id
)
delete from event_logs
using orphaned
where event_logs.id = orphaned.id
