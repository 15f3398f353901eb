"""`/v1/devices`."""
