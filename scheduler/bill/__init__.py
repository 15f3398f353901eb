"""The bill: seconds and energy, metered and charged."""
