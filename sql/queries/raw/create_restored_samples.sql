-- Room for the rows of one archived file before they are taken in; gone with the transaction. Plan: none.
create temporary table restored_samples
on commit drop
as table raw.server_resource_metrics with no data
