"""Scheduler room: decides about residency and clocks, and sweeps what got stuck."""
