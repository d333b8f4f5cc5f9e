"""Live consumers: the pure parts."""
