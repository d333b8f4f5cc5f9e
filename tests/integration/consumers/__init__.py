"""Schema resmon as consumers use it: functions, pages, keys, documents."""
