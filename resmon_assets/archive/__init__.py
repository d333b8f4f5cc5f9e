"""Stage archive: each closed UTC day of raw as Parquet, verified, in a folder or bucket."""
