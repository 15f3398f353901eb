"""`/v1/bulks`."""
