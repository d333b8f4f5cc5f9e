"""Forecasts: what usage will be, with bands, and the day a limit is reached."""
