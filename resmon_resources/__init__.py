"""The outside world: PostgreSQL, SSH, this machine, the inventory. Never imports resmon_assets."""
