-- Purpose: refuses a limit that makes no sense, in one form for all functions of schema resmon.
create or replace function tier.checked_limit(p_function text, p_limit integer, p_most integer)
returns integer
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_limit is null or p_limit not between 1 and p_most then
        perform tier.refuse(
            p_function, 'p_limit', 'is ' || coalesce(p_limit::text, 'null'), format('Allowed: 1 to %s rows.', p_most)
        );
    end if;
    return p_limit;
end
$$;

comment on function tier.checked_limit(text, integer, integer) is
    'The limit; refuses null, less than 1 and more than p_most.';
