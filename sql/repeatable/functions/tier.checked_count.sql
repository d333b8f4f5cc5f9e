-- Purpose: refuses what is no list of ids, in one form for all functions of schema resmon; returns how many there are.
create or replace function tier.checked_count(p_function text, p_argument text, p_ids integer[])
returns integer
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_ids is null then
        perform tier.refuse(
            p_function, p_argument, 'is null',
            'Give ids as an array, for example array[1, 2], or array(select server_id from resmon.servers).'
        );
    end if;
    return cardinality(p_ids);
end
$$;

comment on function tier.checked_count(text, text, integer[]) is
    'Number of ids in an argument of a function; refuses null.';
