-- Whether the inventory ever had a real server; removed ones count, so that a removed machine does not come back by itself.
-- Plan: stops at the first row.
select exists (
    select
    from inventory.servers as s
    where not exists (
        select
        from demo.servers as d
        where d.server_id = s.server_id
    )
);
