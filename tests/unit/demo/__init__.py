"""Pure modules of the demo fleet."""
