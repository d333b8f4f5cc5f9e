-- Takes in the rows of one archived file unless raw has the sample; returns the new rows per UTC hour.
-- Plan: sort, insert through the one day partition, an index probe a row.
with inserted as (
    insert into raw.server_resource_metrics ({columns})
    select {columns}
    from pg_temp.restored_samples
    order by server_id, collected_at
    on conflict (server_id, collected_at) do nothing
    returning collected_at
)

select
    date_trunc('hour', i.collected_at, 'UTC') as hour,
    count(*) as row_count
from inserted as i
group by 1
order by 1
