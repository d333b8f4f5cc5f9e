"""Pure decisions about what is computed again."""
