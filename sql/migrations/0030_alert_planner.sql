-- Purpose: when notices are to be planned although no alert changed; which announcements wait for the end of their alert.
-- Locks: share on alert.announcements for a moment (index); a new table. Its triggers come with repeatable/functions/alert.wake_planner.sql.
-- Undo: drop table alert.planner; drop index alert.announcements_waiting; drop function alert.wake_planner cascade.

create table alert.planner (
    is_only boolean primary key default true check (is_only),
    planned_at timestamptz,
    next_at timestamptz,
    change_count bigint not null default 0
);
comment on table alert.planner is 'One row: when it was last decided who is told of which alerts, and when it is next to be decided although no alert changed.';
comment on column alert.planner.is_only is 'Key of the only row.';
comment on column alert.planner.planned_at is 'When it was last decided; null: never.';
comment on column alert.planner.next_at is 'When a reminder, the end of a silence or of a group, or a digest is next due; null: none is. Long ago: routes, silences or maintenance windows were changed, and it is due at once.';
comment on column alert.planner.change_count is 'Changes (count) of routes, silences and maintenance windows; a plan that was made during one is made again.';
insert into alert.planner (next_at) values (to_timestamp(0));

create index announcements_waiting on alert.announcements (alert_id) where resolved_at is null;
