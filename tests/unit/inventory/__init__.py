"""The inventory's pure parts."""
