-- Locks the stored conditions of some rules and subjects, always in the same order, and reads them.
-- Plan: function scan on unnest, one primary key probe a row.
select
    c.rule,
    c.subject,
    c.state,
    c.level,
    c.since,
    c.last_at,
    c.last_value,
    c.peak_value,
    c.higher_level,
    c.higher_since,
    c.lower_level,
    c.lower_since,
    c.openings,
    c.alert_id
from unnest(%(rule)s::text[], %(subject)s::text[]) as batch (rule, subject)
inner join alert.conditions as c on c.rule = batch.rule and c.subject = batch.subject
order by c.rule, c.subject
for update of c;
