-- Purpose: what is known of windows that still have to be computed: a person's wish, tries, refusals.
-- Locks: none on existing data; a new table only.
-- Undo: drop table ops.catch_up.

create table ops.catch_up (
    asset text not null,
    window_start timestamptz not null,
    requested_at timestamptz,
    attempts integer not null default 0,
    attempted_at timestamptz,
    attempted_revision bigint,
    refused_at timestamptz,
    refused_revision bigint,
    refusal text,
    primary key (asset, window_start)
) with (fillfactor = 70);
comment on table ops.catch_up is 'Windows that were asked for, tried without success, or refused. A row is removed once its window was computed after all that it says.';
comment on column ops.catch_up.asset is 'Asset key as schema.table, as in ops.window_state.';
comment on column ops.catch_up.window_start is 'Start of the window, UTC.';
comment on column ops.catch_up.requested_at is 'When a person asked for the window to be computed again, whatever its state; null when nobody did.';
comment on column ops.catch_up.attempts is 'Runs that were requested for it and left it stale; begins again when it was computed and raw was written since.';
comment on column ops.catch_up.attempted_at is 'When the last of them was requested; the pause before the next grows with their number.';
comment on column ops.catch_up.attempted_revision is 'Revision of raw at that time: a window that stays stale at the same revision although it was computed is paused as well.';
comment on column ops.catch_up.refused_at is 'When a run refused it because its raw samples are gone; null when none did.';
comment on column ops.catch_up.refused_revision is 'Revision of raw at that time: it is not tried again until raw is written to.';
comment on column ops.catch_up.refusal is 'The refusal in words.';
