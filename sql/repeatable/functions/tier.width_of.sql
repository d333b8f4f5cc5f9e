-- Purpose: how long a bucket of a granularity is. A day is 24 hours, whatever the session's zone. Inlined: no search_path.
create or replace function tier.width_of(p_granularity text)
returns interval
language sql
immutable
parallel safe
return case p_granularity
    when '1min' then interval '1 minute'
    when '5min' then interval '5 minutes'
    when '1hour' then interval '1 hour'
    when '1day' then interval '24 hours'
end;

comment on function tier.width_of(text) is
    'Length of a bucket of 1min, 5min, 1hour or 1day; null for anything else, as for raw.';
