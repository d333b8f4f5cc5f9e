"""The demo fleet: servers that do not exist, their history, and what was planted in it."""
