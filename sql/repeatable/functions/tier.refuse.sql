-- Purpose: one form for all refusals of arguments by functions of schema resmon.
create or replace function tier.refuse(p_function text, p_argument text, p_problem text, p_allowed text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception '%: % %', p_function, p_argument, p_problem
        using errcode = 'invalid_parameter_value', hint = p_allowed;
end
$$;

comment on function tier.refuse(text, text, text, text) is
    'Raises invalid_parameter_value: which function, which argument, what is wrong with it; the hint says what is allowed.';
