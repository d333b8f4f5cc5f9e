-- Purpose: a rule says whether its ends are told: that a server was started anew is a fact, and nobody wants to hear that it is over. Two comments say which openings count.
-- Locks: access exclusive on alert.rules and alert.rule_settings for a moment (small tables, the default is no rewrite); row exclusive on one row.
-- Undo: alter table alert.rules drop column tells_ends; alter table alert.rule_settings drop column tells_ends.

alter table alert.rules add column tells_ends boolean not null default true;
alter table alert.rule_settings add column tells_ends boolean;
comment on column alert.rules.tells_ends is 'Whether who was told of an alert is told of its end; false of what is a fact and not a state. The end is recorded all the same.';
comment on column alert.rule_settings.tells_ends is 'As in alert.rules; null: as it is elsewhere.';

update alert.rules set tells_ends = false where rule = 'reboot';

comment on column alert.rules.keep_seconds is 'Seconds for which a level must be left without a break before the alert gets better or is resolved. Doubled with each opening of the six hours before the last one, at most to two hours.';
comment on column alert.conditions.openings is 'When alerts were opened: the last one, and those of the six hours before it; oldest first.';
