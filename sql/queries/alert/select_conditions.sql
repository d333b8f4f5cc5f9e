-- Conditions of the named rules; of some servers only, unless server_ids is null.
-- Plan: one pass over conditions, which has rows only of what is, or lately was, beyond a level; with server_ids the index conditions_server.
select
    rule,
    subject,
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
from alert.conditions
where rule = any(%(rules)s::text[])
    and (%(server_ids)s::integer[] is null or server_id = any(%(server_ids)s::integer[]));
