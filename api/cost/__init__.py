"""`/v1/cost` and `/v1/usage`."""
