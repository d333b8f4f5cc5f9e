-- What a detector knew at the end of the hour of %(start)s, chunk by chunk. Plan: primary key range.
select
    server_ids,
    seen_at,
    metrics,
    content
from anomaly.detector_state
where window_start = %(start)s
    and detector = %(detector)s
order by chunk
