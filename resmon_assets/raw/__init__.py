"""Stage raw: samples as collected."""
