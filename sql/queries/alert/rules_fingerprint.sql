-- Changes when the rules of any subject may have: counts, and sums of a hash of rules, settings and the tree.
-- Plan: one pass each over alert.rules, alert.rule_settings and inventory.organizations; hundreds of rows.
select
    (select count(*) from alert.rule_settings) as setting_count,
    coalesce((select sum(hashtextextended(r::text, 0)) from alert.rules as r), 0)
    + coalesce((select sum(hashtextextended(s::text, 1)) from alert.rule_settings as s), 0)
    + coalesce((
        select sum(hashtextextended(row(o.organization_id, o.parent_id)::text, 2))
        from inventory.organizations as o
    ), 0) as hash;
