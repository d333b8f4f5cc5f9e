-- Removes what was known at the end of the hour of %(start)s, before it is written anew. Plan: primary key range.
delete from anomaly.detector_state
where window_start = %(start)s
    and detector = any(%(detectors)s)
