"""The outside world: PostgreSQL, SSH, the local machine, the inventory. Never imports resmon_assets."""
