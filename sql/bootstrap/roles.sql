-- Once per cluster, by a superuser, on a PostgreSQL of your own (the embedded server needs none of it). No passwords
-- here: set them with \password. Then grant each login what it is for, for example: grant resmon_reader to grafana;
-- and run `resmon db migrate` once more, which grants the rights on tables and views.
create role resmon_owner nologin;
create role resmon_writer nologin;
create role resmon_reader nologin;
-- The data database and Dagster's own:
--   create database resmon owner resmon_owner;
--   create database resmon_dagster owner resmon_owner;
