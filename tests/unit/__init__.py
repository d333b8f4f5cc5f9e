"""Tests of pure modules, one folder per stage or topic."""
