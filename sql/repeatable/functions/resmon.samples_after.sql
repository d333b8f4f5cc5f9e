-- Purpose: what was stored after a commit, in the order of commits; the read of a live consumer (docs/live.md). With the
-- caller's rights: row-level security holds.
-- Whole commits only: the last one is not cut by p_max_rows, so that its number alone is where to go on.
-- No search_path of its own and no plpgsql: so PostgreSQL puts the body into the caller's query and plans it with the
-- values: one probe of server_resource_metrics_commit per day partition, as far back as samples are kept; late rows are
-- among them, however old collected_at is. p_since, if given, leaves out partitions that end before it.
create or replace function resmon.samples_after(
    p_sequence bigint,
    p_organization_id integer default null,
    p_include_subtree boolean default true,
    p_max_rows bigint default 10000,
    p_since timestamptz default null
)
returns table (
    commit_sequence bigint,
    server_id integer,
    server_name text,
    organization_id integer,
    organization_name text,
    collected_at timestamptz,
    cpu_pct real,
    cpu_count smallint,
    memory_used_bytes bigint,
    memory_total_bytes bigint,
    disk_used_bytes bigint,
    disk_total_bytes bigint,
    network_in_bytes bigint,
    network_out_bytes bigint,
    elapsed_ms integer,
    load_1m real,
    load_5m real,
    load_15m real,
    uptime_seconds integer,
    clock_skew_seconds real
)
language sql
stable
as $$
    select
        page.commit_sequence,
        page.server_id,
        s.name,
        page.organization_id,
        o.name,
        page.collected_at,
        page.cpu_pct,
        page.cpu_count,
        page.memory_used_bytes,
        page.memory_total_bytes,
        page.disk_used_bytes,
        page.disk_total_bytes,
        page.network_in_bytes,
        page.network_out_bytes,
        page.elapsed_ms,
        page.load_1m,
        page.load_5m,
        page.load_15m,
        page.uptime_seconds,
        page.clock_skew_seconds
    from (
        select
            m.commit_sequence,
            m.server_id,
            m.organization_id,
            m.collected_at,
            m.cpu_pct,
            m.cpu_count,
            m.memory_used_bytes,
            m.memory_total_bytes,
            m.disk_used_bytes,
            m.disk_total_bytes,
            m.network_in_bytes,
            m.network_out_bytes,
            m.elapsed_ms,
            m.load_1m,
            m.load_5m,
            m.load_15m,
            m.uptime_seconds,
            m.clock_skew_seconds
        from raw.server_resource_metrics as m
        where m.commit_sequence > p_sequence
            and (p_since is null or m.collected_at >= p_since)
            and (
                p_organization_id is null
                or m.organization_id = p_organization_id
                or (
                    p_include_subtree
                    and m.organization_id in (
                        select below.organization_id
                        from resmon.organization_subtree(p_organization_id) as below (organization_id)
                    )
                )
            )
        order by m.commit_sequence
        fetch first (p_max_rows) rows with ties
    ) as page
    left join inventory.servers as s on s.server_id = page.server_id
    left join inventory.organizations as o on o.organization_id = page.organization_id
    order by page.commit_sequence, page.server_id, page.collected_at
$$;

comment on function resmon.samples_after(bigint, integer, boolean, bigint, timestamptz) is
'Samples stored by the commits after p_sequence, in their order: of one organization with those below it, or of all that the caller may see. Ends with the first commit that fills p_max_rows, which is never cut.
p_sequence: commit_sequence of the last row that was read; 0 for all that there is.
p_organization_id: only samples of this organization; null: of all that the caller may see.
p_include_subtree: with those of the organizations below it.
p_max_rows: rows after which the page ends with the commit that it is in.
p_since: leaves out samples that were collected before; null: none.';
