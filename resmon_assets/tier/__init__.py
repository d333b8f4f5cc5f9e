"""Stage tier: exact statistics per server and time bucket."""
