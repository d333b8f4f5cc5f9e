-- Forgets conditions of which nothing is to be known any more; the transaction holds their rows.
-- Plan: function scan on unnest, one primary key probe a row.
delete from alert.conditions as c
using unnest(%(rule)s::text[], %(subject)s::text[]) as batch (rule, subject)
where c.rule = batch.rule and c.subject = batch.subject;
