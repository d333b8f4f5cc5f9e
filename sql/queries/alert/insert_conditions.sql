-- Stores conditions of subjects of which nothing was known; returns those that no other writer stored meanwhile.
-- Plan: function scan on unnest, one primary key probe a row.
insert into alert.conditions (
    rule,
    subject,
    server_id,
    organization_id,
    state,
    level,
    since,
    last_at,
    last_value,
    peak_value,
    higher_level,
    higher_since,
    lower_level,
    lower_since,
    openings
)
select
    rule,
    subject,
    server_id,
    organization_id,
    state,
    level,
    since,
    last_at,
    last_value,
    peak_value,
    higher_level,
    higher_since,
    lower_level,
    lower_since,
    openings::timestamptz[]
from unnest(
    %(rule)s::text[],
    %(subject)s::text[],
    %(server_id)s::integer[],
    %(organization_id)s::integer[],
    %(state)s::text[],
    %(level)s::smallint[],
    %(since)s::timestamptz[],
    %(last_at)s::timestamptz[],
    %(last_value)s::double precision[],
    %(peak_value)s::double precision[],
    %(higher_level)s::smallint[],
    %(higher_since)s::timestamptz[],
    %(lower_level)s::smallint[],
    %(lower_since)s::timestamptz[],
    %(openings)s::text[]
) as batch (
    rule,
    subject,
    server_id,
    organization_id,
    state,
    level,
    since,
    last_at,
    last_value,
    peak_value,
    higher_level,
    higher_since,
    lower_level,
    lower_since,
    openings
)
order by rule, subject
on conflict (rule, subject) do nothing
returning rule, subject;
