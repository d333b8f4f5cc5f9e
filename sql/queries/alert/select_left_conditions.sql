-- Subjects of servers that are not collected any more of which some rules still know something, with the name of the server.
-- Plan: one pass over conditions, which has rows only of what is, or lately was, beyond a level; one primary key probe a row.
select c.rule, c.subject, s.server_id, s.organization_id, s.name
from alert.conditions as c
inner join inventory.servers as s on s.server_id = c.server_id
where c.rule = any(%(rules)s::text[])
    and c.state <> 'clear'
    and s.state <> 'active';
