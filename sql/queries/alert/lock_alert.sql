-- One alert as it is, held until the transaction ends. Its condition is held first, as by those who judge.
-- Plan: a primary key probe.
select alert_id, rule, subject, subject_name, state, severity, value, acknowledged_by, resolved_by, resolved_at
from alert.alerts
where alert_id = %(alert_id)s
for update;
