"""Stage rollup: organizations and all below them, per time bucket."""
