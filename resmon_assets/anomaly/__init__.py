"""Stage `anomaly`: what is unusual for a series or a server, judged forward in time."""
