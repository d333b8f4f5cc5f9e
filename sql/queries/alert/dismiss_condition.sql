-- Notes that a person has resolved the alert although the condition may go on.
-- Plan: a primary key probe.
update alert.conditions
set state = 'dismissed', alert_id = null
where rule = %(rule)s and subject = %(subject)s and state = 'firing';
