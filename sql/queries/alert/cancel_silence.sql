-- A silence that was not removed is; no row where there is none.
-- Plan: primary key.
update alert.silences
set cancelled_at = %(now)s, cancelled_by = %(actor)s
where silence_id = %(number)s and cancelled_at is null
returning silence_id
