-- Purpose: what a delivery that failed needs to know for its next attempt.
-- Locks: access exclusive on alert.deliveries for a moment; no rewrite (constant defaults).
-- Undo: alter table alert.deliveries drop column give_up_at, drop column refusal_count, drop column holds_route, drop column taken_by.

alter table alert.deliveries
    add column give_up_at timestamptz,
    add column refusal_count integer not null default 0,
    add column holds_route boolean not null default false,
    add column taken_by text[] not null default '{}';
comment on column alert.deliveries.give_up_at is 'When it is given up if nobody has taken it by then: 24 hours after the first attempt; null: it was not tried.';
comment on column alert.deliveries.refusal_count is 'Attempts in a row (count) in which a service understood and refused; after five it is given up.';
comment on column alert.deliveries.holds_route is 'Whether the last attempt found no service of the route: later messages wait behind this one.';
comment on column alert.deliveries.taken_by is 'Services of the route that took it, by place and kind (2 slack); they are not given it again.';
