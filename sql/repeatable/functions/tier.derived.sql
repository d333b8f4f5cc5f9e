-- Purpose: a percentile of a tier, stored or worked out from minimum and maximum where it follows from them.
-- The same operations in the same order as tier/storage.py (decode), so that both give the same bits. No search_path:
-- PostgreSQL inlines the body, and a view costs no function call; its names are bound when it is made.
create or replace function tier.derived(
    p_stored real,
    p_min real,
    p_max real,
    p_share double precision
)
returns real
language sql
immutable
parallel safe
return coalesce(
    p_stored,
    (
        p_min::double precision
        + (coalesce(p_max, p_min)::double precision - p_min::double precision) * p_share
    )::real
);

comment on function tier.derived(real, real, real, double precision) is
    'The stored value, or, where it is null, the point at p_share (0 to 1) on the line from p_min to p_max (null: equal to p_min); null when p_min is.';
