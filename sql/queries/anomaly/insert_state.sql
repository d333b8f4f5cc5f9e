-- Stores one chunk of what a detector knows at the end of an hour.
insert into anomaly.detector_state (
    window_start,
    stored_at,
    revision,
    version,
    chunk,
    detector,
    server_ids,
    seen_at,
    metrics,
    content
)
values (
    %(window_start)s,
    %(stored_at)s,
    %(revision)s,
    %(version)s,
    %(chunk)s,
    %(detector)s,
    %(server_ids)s,
    %(seen_at)s,
    %(metrics)s,
    %(content)s
)
