"""The asset graph: one folder per stage, pure computation apart from storage."""
