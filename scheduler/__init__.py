"""The scheduler: decides about residency and clocks, keeps the bill, and asks for sweeps."""
