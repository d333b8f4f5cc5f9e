"""The stage rollup on a real PostgreSQL."""
