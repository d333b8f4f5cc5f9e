-- Temporary table that takes the computed rows of one window; gone at the end of the transaction.
create temporary table computed_rows (like {table} including defaults) on commit drop
