"""Pure modules of the stage tier."""
