-- Deletes alerts that were resolved before %(before)s, %(batch)s at most, with their history, what waited and who was told.
-- Plan: scan of alerts in the order of opening; the rows that refer to each by their indexes.
delete from alert.alerts
where alert_id = any(
    array(
        select a.alert_id
        from alert.alerts as a
        where a.resolved_at < %(before)s
            and a.opened_at < %(before)s
        order by a.opened_at
        limit %(batch)s
    )
)
