-- Whether raw has any sample of [%(start)s, %(until)s). Plan: one day partition, ended at the first hit.
select exists (
    select
    from raw.server_resource_metrics
    where collected_at >= %(start)s
        and collected_at < %(until)s
)
