-- The row of the demo fleet, locked until commit: how far its history is made, and whether it is being removed.
select
    made_until,
    is_being_removed
from demo.fleet
for update
