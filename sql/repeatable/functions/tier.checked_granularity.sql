-- Purpose: which granularity a function of schema resmon reads; refuses unknown ones, bad ranges and more buckets than a
-- session should hold.
-- Plan: of auto, one row of ops.pruned_partition per tier that was tried.
create or replace function tier.checked_granularity(
    p_function text,
    p_tables text,
    p_allowed text[],
    p_granularity text,
    p_from timestamptz,
    p_to timestamptz,
    p_points integer,
    p_series integer
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_most constant bigint := 1000000;
    v_seconds constant double precision := tier.checked_range(p_function, p_from, p_to);
    v_granularity text := tier.checked_name(p_function, 'p_granularity', p_granularity, p_allowed);
    v_buckets double precision;
    v_candidate text;
begin
    if p_points is null or p_points not between 1 and 100000 then
        perform tier.refuse(p_function, 'p_points', 'is ' || coalesce(p_points::text, 'null'), 'Allowed: 1 to 100000 buckets.');
    end if;
    if v_granularity = 'auto' then
        v_granularity := resmon.granularity_for(p_from, p_to, p_points);
        foreach v_candidate in array array['1min', '5min', '1hour', '1day'] loop
            if tier.width_of(v_candidate) >= tier.width_of(v_granularity) and v_candidate = any(p_allowed) then
                v_granularity := v_candidate;
                -- The next one when retention has dropped rows of this one that the range asks for.
                exit when coalesce(p_from >= tier.kept_since(p_tables || v_candidate), true);
            end if;
        end loop;
    end if;
    -- A sample of raw is taken as 30 s, the usual interval.
    v_buckets := p_series * v_seconds / coalesce(extract(epoch from tier.width_of(v_granularity))::double precision, 30);
    if v_buckets > v_most then
        perform tier.refuse(
            p_function,
            'p_granularity',
            format(
                '%s would give some %s rows for %s in [%s, %s)', v_granularity, round(v_buckets::numeric), p_series, p_from, p_to
            ),
            format(
                'At most %s: ask for a coarser granularity (of auto: fewer p_points), a shorter range or fewer ids, or read in pages: resmon.server_metrics_page.',
                v_most
            )
        );
    end if;
    return v_granularity;
end
$$;

comment on function tier.checked_granularity(text, text, text[], text, timestamptz, timestamptz, integer, integer) is
    'The granularity to read for a range: p_granularity, or for auto the finest of p_allowed with at most p_points buckets that is still whole at p_from. p_tables and a granularity make the name of its table; p_series says of how many servers or organizations.';
