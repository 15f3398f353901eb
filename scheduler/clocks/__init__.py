"""Clocks: idle GPUs are lowered, and always restored."""
