-- Adds a route; no row when the name is taken.
-- Plan: primary key.
insert into alert.routes
(route, target, organization_id, minimum_severity, tags, rules, per_hour, template, sends_resolved, created_by, created_at)
values
(
    %(route)s, %(target)s, %(organization_id)s, %(minimum_severity)s, %(tags)s, %(rules)s, %(per_hour)s, %(template)s,
    %(sends_resolved)s, %(created_by)s, %(created_at)s
)
on conflict (route) do nothing
returning route;
