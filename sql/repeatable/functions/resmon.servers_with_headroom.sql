-- Purpose: the servers that can take so much more, by the newest day of forecast.headroom.
-- With the caller's rights. Plan: time index of the one partition of that day; names are looked up of the rows that are given.
create or replace function resmon.servers_with_headroom(
    p_cpu_cores double precision default 0,
    p_memory_bytes double precision default 0,
    p_disk_bytes double precision default 0,
    p_organization_id integer default null,
    p_limit integer default 20
)
returns table (
    server_id integer,
    server_name text,
    organization_id integer,
    organization_name text,
    bucket_start timestamptz,
    cpu_headroom_cores double precision,
    memory_headroom_bytes double precision,
    disk_headroom_bytes double precision,
    headroom_ratio double precision,
    confidence_ratio double precision,
    limiting_resource text,
    verdict text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit constant integer := tier.checked_limit('resmon.servers_with_headroom', p_limit, 10000);
    v_name text;
    v_value double precision;
begin
    for v_name, v_value in
        values ('p_cpu_cores', p_cpu_cores), ('p_memory_bytes', p_memory_bytes), ('p_disk_bytes', p_disk_bytes)
    loop
        if v_value is null or v_value not between 0 and 1e18 then
            perform tier.refuse(
                'resmon.servers_with_headroom', v_name, 'is ' || coalesce(v_value::text, 'null'), 'Give what is needed, 0 for nothing.'
            );
        end if;
    end loop;
    return query execute $query$
        select
            h.server_id,
            s.name,
            h.organization_id,
            o.name,
            h.bucket_start,
            h.cpu_headroom_cores::double precision,
            h.memory_headroom_bytes,
            h.disk_headroom_bytes,
            h.headroom_ratio::double precision,
            h.confidence_ratio::double precision,
            h.limiting_resource,
            h.verdict
        from (
            select f.*
            from forecast.headroom as f
            where f.bucket_start = $1
                and coalesce(f.cpu_headroom_cores, 0)::double precision >= $2
                and coalesce(f.memory_headroom_bytes, 0) >= $3
                and coalesce(f.disk_headroom_bytes, 0) >= $4
                and ($5 is null or f.organization_id in (select b.id from resmon.organization_subtree($5) as b (id)))
            order by
                f.headroom_ratio desc,
                f.server_id
            limit $6
        ) as h
        left join inventory.servers as s on s.server_id = h.server_id
        left join inventory.organizations as o on o.organization_id = h.organization_id
        order by
            h.headroom_ratio desc,
            h.server_id
    $query$ using
        tier.computed_until('forecast.headroom') - interval '24 hours',
        p_cpu_cores,
        p_memory_bytes,
        p_disk_bytes,
        p_organization_id,
        v_limit;
end
$$;

comment on function resmon.servers_with_headroom(double precision, double precision, double precision, integer, integer) is
'Servers that can take so much more and stay below their targets (CPU 80 %, memory and disk 85 %, by the last 28 days and the forecast of 30), most room first. Of the newest day that was computed; a server of which the headroom of something needed is not known is left out.
p_cpu_cores: cores that are needed.
p_memory_bytes: bytes of memory that are needed.
p_disk_bytes: bytes of disk that are needed.
p_organization_id: only servers that belonged to this organization or to one below it on that day; null: all.
p_limit: servers, 1 to 10000.
organization_id: organization that owned the server on that day.
bucket_start: start of the UTC day that was judged.
cpu_headroom_cores: cores up to the target.
memory_headroom_bytes: bytes up to the target.
disk_headroom_bytes: bytes up to the target.
headroom_ratio: headroom of the limiting resource as a share of its target, at most 1.
confidence_ratio: how well it is known, 0 to 1; as in the view headroom.
limiting_resource: cpu, memory or disk: where the least is left.
verdict: underused, balanced, overloaded or unknown.';
