-- Temporary table of the episodes that are to be written.
create temporary table changed_episodes (
    like anomaly.anomaly_reports
) on commit drop
