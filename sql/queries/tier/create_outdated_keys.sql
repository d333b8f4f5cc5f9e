-- Temporary table of the stored rows that differ from the computed ones, or that the computation no longer gives.
create temporary table outdated_keys (
    server_id integer not null,
    bucket_start timestamptz not null,
    organization_id integer not null
) on commit drop
