-- The newest hour before %(start)s at whose end the state of all these detectors, in these versions, is stored; null when
-- there is none. Plan: the table has a few hundred rows; content is not read.
select max(x.window_start)
from (
    select s.window_start
    from anomaly.detector_state as s
    join unnest(%(detectors)s::text [], %(versions)s::integer []) as d (detector, version)
        on d.detector = s.detector
        and d.version = s.version
    where s.window_start < %(start)s
    group by s.window_start
    having count(distinct s.detector) = cardinality(%(detectors)s::text [])
) as x
