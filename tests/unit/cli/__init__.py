"""Commands: their pure parts."""
