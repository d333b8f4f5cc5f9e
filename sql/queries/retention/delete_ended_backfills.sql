-- In Dagster's database: at most %(limit)s backfills that ended, were begun before %(cutoff)s and have no run left.
-- Plan: a table of a few rows; run tags by idx_run_tags.
with ended as (
    select b.id, b.key
    from bulk_actions as b
    where b.status in ('COMPLETED', 'COMPLETED_SUCCESS', 'COMPLETED_FAILED', 'FAILED', 'CANCELED')
        and b.timestamp < %(cutoff)s::timestamptz at time zone 'UTC'
        and not exists (
            select
            from run_tags as t
            where t.key = 'dagster/backfill'
                and t.value = b.key
        )
    order by b.id
    limit %(limit)s
),
untagged as (
    delete from backfill_tags
    using ended
    where backfill_tags.backfill_id = ended.key
)
delete from bulk_actions
using ended
where bulk_actions.id = ended.id
