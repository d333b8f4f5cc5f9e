-- Temporary table of the stored rows that differ from the computed ones, or that the computation no longer gives.
create temporary table outdated_keys on commit drop as
select {key}
from {table}
with no data
