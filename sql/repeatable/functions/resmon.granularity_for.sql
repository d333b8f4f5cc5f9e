-- Purpose: which tier suits a range of time. Asks nothing but its arguments, so that PostgreSQL works it out once per query.
create or replace function resmon.granularity_for(
    p_from timestamptz,
    p_to timestamptz,
    p_points integer default 1000
)
returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_seconds constant double precision := tier.checked_range('resmon.granularity_for', p_from, p_to);
begin
    if p_points is null or p_points not between 1 and 100000 then
        perform tier.refuse(
            'resmon.granularity_for', 'p_points', 'is ' || coalesce(p_points::text, 'null'), 'Allowed: 1 to 100000 buckets.'
        );
    end if;
    return case
        when v_seconds <= 60.0 * p_points then '1min'
        when v_seconds <= 300.0 * p_points then '5min'
        when v_seconds <= 3600.0 * p_points then '1hour'
        else '1day'
    end;
end
$$;

comment on function resmon.granularity_for(timestamptz, timestamptz, integer) is
'The finest tier with at most p_points buckets in [p_from, p_to): 1min, 5min, 1hour or 1day; 1day also when that has more.
p_from: start of the range, part of it.
p_to: end of the range, not part of it.
p_points: buckets, 1 to 100000.';
