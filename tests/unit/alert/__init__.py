"""Alerts: pure parts."""
