"""Alerts: who is told of them, what the messages say, and what rules would have done."""
