-- Sets what is given of a rule for a scope; what is null stays as it was set there before, options are merged by name.
-- Plan: unique key (rule, scope), one row.
insert into alert.rule_settings as s (
    rule,
    organization_id,
    server_id,
    tag,
    levels,
    clear_levels,
    severities,
    for_seconds,
    keep_seconds,
    remind_seconds,
    is_enabled,
    tells_ends,
    options,
    changed_by,
    changed_at
)
values (
    %(rule)s,
    %(organization_id)s,
    %(server_id)s,
    %(tag)s,
    %(levels)s,
    %(clear_levels)s,
    %(severities)s,
    %(for_seconds)s,
    %(keep_seconds)s,
    %(remind_seconds)s,
    %(is_enabled)s,
    %(tells_ends)s,
    %(options)s,
    %(changed_by)s,
    %(now)s
)
on conflict (rule, organization_id, server_id, tag) do update
set
    levels = coalesce(excluded.levels, s.levels),
    clear_levels = coalesce(excluded.clear_levels, s.clear_levels),
    severities = coalesce(excluded.severities, s.severities),
    for_seconds = coalesce(excluded.for_seconds, s.for_seconds),
    keep_seconds = coalesce(excluded.keep_seconds, s.keep_seconds),
    remind_seconds = coalesce(excluded.remind_seconds, s.remind_seconds),
    is_enabled = coalesce(excluded.is_enabled, s.is_enabled),
    tells_ends = coalesce(excluded.tells_ends, s.tells_ends),
    options = case when excluded.options is null then s.options else coalesce(s.options, '{}') || excluded.options end,
    changed_by = excluded.changed_by,
    changed_at = excluded.changed_at;
