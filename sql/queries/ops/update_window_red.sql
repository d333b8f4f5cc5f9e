-- Mark a computed window red or green. Plan: primary key.
update ops.window_state as w
set is_red = %(is_red)s
where w.asset = %(asset)s
    and w.window_start = %(window_start)s
