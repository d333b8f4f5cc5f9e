-- Purpose: refuses what is no range of time, in one form for all functions of schema resmon; returns its length in seconds.
create or replace function tier.checked_range(p_function text, p_from timestamptz, p_to timestamptz)
returns double precision
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_from is null or not isfinite(p_from) then
        perform tier.refuse(
            p_function, 'p_from', 'is ' || coalesce(p_from::text, 'null'), 'Give an instant, for example now() - interval ''1 day''.'
        );
    end if;
    if p_to is null or not isfinite(p_to) then
        perform tier.refuse(
            p_function, 'p_to', 'is ' || coalesce(p_to::text, 'null'), 'Give an instant, for example now().'
        );
    end if;
    if p_from >= p_to then
        perform tier.refuse(
            p_function, 'p_from', format('(%s) is not before p_to (%s)', p_from, p_to),
            'The range is half-open, [p_from, p_to): p_from must be earlier.'
        );
    end if;
    return extract(epoch from p_to - p_from)::double precision;
end
$$;

comment on function tier.checked_range(text, timestamptz, timestamptz) is
    'Length of [p_from, p_to) in seconds; refuses null, infinity and a range that is empty.';
