"""Pure modules of the stage rollup."""
