-- Purpose: which database roles may read which organizations: the grants, and what follows from them for each organization below.
-- Locks: share row exclusive on inventory.organizations for a moment (foreign keys, triggers); new tables only. Row-level security itself is switched on by repeatable/grants/row_level_security.sql: access exclusive on each table that readers read, for a moment.
-- Undo: drop policies and row-level security of the tables that row_level_security.sql names; drop table inventory.organization_access, inventory.access_grant cascade; drop function inventory.keep_access_of_grants, inventory.keep_access_of_organizations cascade.

create table inventory.access_grant (
    access_grant_id integer generated always as identity primary key,
    role_name name not null check (role_name <> ''),
    organization_id integer references inventory.organizations on delete cascade,
    granted_at timestamptz not null,
    granted_by name not null default session_user,
    unique nulls not distinct (role_name, organization_id)
);
create index access_grant_organization on inventory.access_grant (organization_id);
comment on table inventory.access_grant is 'Which organizations a role of PostgreSQL may read, each with all below it. A role without a row reads nothing.';
comment on column inventory.access_grant.access_grant_id is 'Identifier.';
comment on column inventory.access_grant.role_name is 'Name of the role, as current_user gives it. It is not followed when the role is renamed or dropped.';
comment on column inventory.access_grant.organization_id is 'The organization, with all below it; null: all organizations, also those that come later, and what belongs to none.';
comment on column inventory.access_grant.granted_at is 'When it was granted.';
comment on column inventory.access_grant.granted_by is 'The role that granted it.';

create table inventory.organization_access (
    role_name name not null,
    organization_id integer not null references inventory.organizations on delete cascade,
    primary key (role_name, organization_id)
);
create index organization_access_organization on inventory.organization_access (organization_id);
comment on table inventory.organization_access is 'Every organization that a role may read: inventory.access_grant followed down the tree of today. Kept by triggers on grants and organizations; row-level security asks it.';
comment on column inventory.organization_access.role_name is 'Name of the role.';
comment on column inventory.organization_access.organization_id is 'Organization that it may read.';
