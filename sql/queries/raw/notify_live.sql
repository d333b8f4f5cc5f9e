-- Wakes live consumers; after the commit, in a statement of its own. Plan: one function call.
select pg_notify('resmon_live', %(payload)s)
