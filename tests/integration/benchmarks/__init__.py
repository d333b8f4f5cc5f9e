"""The simulated fleet and the benchmarks that print figures."""
