-- Whether raw of the UTC day %(day)s was dropped, and whether it holds samples. Plan: a key, and the first row of a partition.
select
    exists (
        select
        from ops.raw_day as d
        where d.day = %(day)s
            and d.pruned_at is not null
    ) as is_pruned,
    exists (
        select
        from raw.server_resource_metrics as r
        where r.collected_at >= %(start)s
            and r.collected_at < %(end)s
    ) as has_samples
