-- Whether a message waits for an attempt that is due at %(now)s. Plan: first entry of deliveries_waiting.
select exists (
    select
    from alert.deliveries as d
    where d.next_attempt_at <= %(now)s
)
