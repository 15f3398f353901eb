"""Devices: what each reports, how its clocks are, and what people ordered."""
