-- Whether the inventory ever had a server; removed ones count, so that a removed machine does not come back by itself.
-- Plan: stops at the first row.
select exists (select 1 from inventory.servers);
