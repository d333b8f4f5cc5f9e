-- Takes settings away: of one rule or, with %(rule)s null, of all; of one scope or, with %(all_scopes)s, of all.
-- Plan: one pass; settings are dozens, seldom hundreds.
delete from alert.rule_settings as s
where (%(rule)s::text is null or s.rule = %(rule)s)
    and (
        %(all_scopes)s
        or (
            s.organization_id is not distinct from %(organization_id)s::integer
            and s.server_id is not distinct from %(server_id)s::integer
            and s.tag is not distinct from %(tag)s::text
        )
    )
returning
    s.rule,
    s.organization_id,
    s.server_id,
    s.tag;
