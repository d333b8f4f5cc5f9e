-- Unit and direction of every rule, for sentences.
-- Plan: one pass over the few rows of rules.
select rule, unit, direction from alert.rules;
