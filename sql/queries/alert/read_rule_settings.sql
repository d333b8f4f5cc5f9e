-- Where the installation differs from the shipped rules. Plan: one pass; settings are dozens, seldom hundreds.
select
    s.rule,
    s.organization_id,
    s.server_id,
    s.tag,
    s.levels,
    s.clear_levels,
    s.severities,
    s.for_seconds,
    s.keep_seconds,
    s.remind_seconds,
    s.is_enabled,
    s.tells_ends,
    s.options,
    s.changed_by,
    s.changed_at
from alert.rule_settings as s
order by s.rule, s.rule_setting_id;
