-- Purpose: refuses a name that is not in a list, in one form for all functions of schema resmon.
create or replace function tier.checked_name(p_function text, p_argument text, p_name text, p_allowed text[])
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_name is null or p_name <> all (p_allowed) then
        perform tier.refuse(
            p_function, p_argument, 'is ' || coalesce(quote_literal(p_name), 'null'),
            format('Allowed: %s.', array_to_string(p_allowed, ', '))
        );
    end if;
    return p_name;
end
$$;

comment on function tier.checked_name(text, text, text, text[]) is
    'The name; refuses null and what is not among p_allowed.';
