"""The resmon command."""
