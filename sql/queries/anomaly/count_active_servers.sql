-- Servers that are collected now. Plan: scan of a small table.
select count(*)
from inventory.servers
where state = 'active'
