-- Record what a window was computed from, unless a newer state is stored; returns a row when it wrote.
-- A recomputation is green until its checks say otherwise. Plan: primary key.
insert into ops.window_state as w (
    asset,
    window_start,
    revision,
    computed_at,
    complete_until,
    row_count,
    sample_count,
    slot_revisions,
    slot_samples
)
values (
    %(asset)s,
    %(window_start)s,
    %(revision)s,
    %(computed_at)s,
    %(complete_until)s,
    %(row_count)s,
    %(sample_count)s,
    %(slot_revisions)s,
    %(slot_samples)s
)
on conflict (asset, window_start) do update
set
    revision = excluded.revision,
    computed_at = excluded.computed_at,
    complete_until = excluded.complete_until,
    is_red = false,
    row_count = excluded.row_count,
    sample_count = excluded.sample_count,
    slot_revisions = excluded.slot_revisions,
    slot_samples = excluded.slot_samples
where excluded.revision >= w.revision
    and excluded.complete_until >= w.complete_until
returning w.revision
