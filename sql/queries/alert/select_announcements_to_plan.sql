-- What routes know of alerts, as far as they were not told of the end.
-- Plan: scan of announcements_waiting.
select alert_id, route, announced_at, reminded_at, severity
from alert.announcements
where resolved_at is null
