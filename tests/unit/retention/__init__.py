"""Pure modules of the stage retention."""
