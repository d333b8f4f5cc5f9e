-- Purpose: whether a role reads every organization there is, with or without a grant of everything. Policies ask it by
-- inventory.sees_every_organization, so that who reads them all does not look for each row in an array or hash of all.
-- With the owner's rights and for the role that asks, as inventory.inherited_limits: a role cannot see what it does not see. It tells
-- that one thing. What a role reads goes down the tree, so that only the tops have to be looked at.
-- A view among the functions, because a function asks it and views come later. Plan: index of the tops, each looked up by key.
create or replace view inventory.reach
with (security_barrier = true)
as
select
    not exists (
        select
        from inventory.organizations as o
        where o.parent_id is null
            and not exists (
                select
                from inventory.organization_access as a
                where a.role_name = current_user
                    and a.organization_id = o.organization_id
            )
    ) as sees_every_organization;

comment on view inventory.reach is 'One row: how far the asking role sees.';
comment on column inventory.reach.sees_every_organization is 'It reads every organization there is.';
