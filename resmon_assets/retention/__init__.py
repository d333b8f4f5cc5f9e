"""Stage retention: drops what is over its age and covered elsewhere; nothing reads it."""
