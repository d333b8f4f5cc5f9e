"""Alerts against a real database."""
