-- Alerts that are not resolved, of some rules and subjects.
-- Plan: function scan on unnest, one probe of alerts_open a row.
select a.rule, a.subject, a.alert_id
from unnest(%(rule)s::text[], %(subject)s::text[]) as batch (rule, subject)
inner join alert.alerts as a
    on a.rule = batch.rule and a.subject = batch.subject and a.resolved_at is null;
