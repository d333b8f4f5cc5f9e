-- In Dagster's database: at most %(limit)s evaluations of checks before %(cutoff)s, oldest first; the newest of each check
-- stays. `delete_run` does not delete them.
-- Plan: primary key up to the first younger row; each probes idx_asset_check_executions.
with old as (
    select c.id
    from asset_check_executions as c
    where c.create_timestamp < %(cutoff)s::timestamptz at time zone 'UTC'
        and c.id < coalesce(
            (
                select young.id
                from asset_check_executions as young
                where young.create_timestamp >= %(cutoff)s::timestamptz at time zone 'UTC'
                order by young.id
                limit 1
            ),
            9223372036854775807
        )
        and exists (
            select
            from asset_check_executions as newer
            where newer.asset_key = c.asset_key
                and newer.check_name = c.check_name
                and newer.id > c.id
        )
    order by c.id
    limit %(limit)s
)
delete from asset_check_executions
using old
where asset_check_executions.id = old.id
