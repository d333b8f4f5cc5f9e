-- A run refused this window at this revision of raw. Plan: primary key.
insert into ops.catch_up as c (
    asset,
    window_start,
    refused_at,
    refused_revision,
    refusal
)
values (
    %(asset)s,
    %(window_start)s,
    %(refused_at)s,
    %(refused_revision)s,
    %(refusal)s
)
on conflict (asset, window_start) do update
set
    refused_at = excluded.refused_at,
    refused_revision = excluded.refused_revision,
    refusal = excluded.refusal
