-- Changes a route; no row when there is none of this name.
-- Plan: primary key.
update alert.routes
set
    target = %(target)s,
    organization_id = %(organization_id)s,
    minimum_severity = %(minimum_severity)s,
    tags = %(tags)s,
    rules = %(rules)s,
    per_hour = %(per_hour)s,
    template = %(template)s,
    is_enabled = %(is_enabled)s,
    sends_resolved = %(sends_resolved)s
where route = %(route)s
returning route;
