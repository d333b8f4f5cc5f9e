-- Holds the condition of an alert, before the alert itself is held.
-- Plan: primary key probes of alerts and conditions.
select c.rule
from alert.alerts as a
inner join alert.conditions as c on c.rule = a.rule and c.subject = a.subject
where a.alert_id = %(alert_id)s
for update of c;
