-- Purpose: which organization lay below which, and when; rollups of a past hour use the tree of that hour.
-- Locks: access exclusive on inventory.organizations for a moment (a column without a default, foreign keys); one row per organization is copied.
-- Undo: drop table inventory.organization_period; alter table inventory.organizations drop column changed_at; drop function inventory.keep_organization_period cascade.

alter table inventory.organizations add column changed_at timestamptz;
comment on column inventory.organizations.changed_at is 'Set by the writer with each move below another parent; the period that the move opens starts here. Null: never moved.';

create table inventory.organization_period (
    organization_id integer not null references inventory.organizations on delete cascade,
    parent_id integer references inventory.organizations on delete set null,
    valid_from timestamptz not null,
    valid_to timestamptz not null default 'infinity',
    primary key (organization_id, valid_from),
    check (valid_from < valid_to),
    check (parent_id <> organization_id)
);
create index organization_period_parent on inventory.organization_period (parent_id);
comment on table inventory.organization_period is 'Half-open stretches [valid_from, valid_to) in which an organization lay below one parent. Kept by trigger on inventory.organizations.';
comment on column inventory.organization_period.organization_id is 'The organization.';
comment on column inventory.organization_period.parent_id is 'The organization above it; null at a root.';
comment on column inventory.organization_period.valid_from is 'The move that began it; -infinity for the first period, because a sample may be stamped a moment before its organization was added.';
comment on column inventory.organization_period.valid_to is 'The move that ended it; infinity for the open one.';

-- What the tree looked like before is not known: the present one stands for all of the past.
insert into inventory.organization_period (organization_id, parent_id, valid_from)
select
    organization_id,
    parent_id,
    '-infinity'
from inventory.organizations;
