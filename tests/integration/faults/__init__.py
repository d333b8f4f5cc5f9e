"""Faults injected into real processes, and what became of the samples."""
