-- The rules as they are shipped, by name. Plan: one pass over some twenty rows.
select
    r.rule,
    r.subject_kind,
    r.source,
    r.unit,
    r.direction,
    r.levels,
    r.clear_levels,
    r.severities,
    r.for_seconds,
    r.keep_seconds,
    r.remind_seconds,
    r.is_enabled,
    r.tells_ends,
    r.options,
    r.description
from alert.rules as r
order by r.rule;
