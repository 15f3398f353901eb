"""What all endpoints share: keys, limits, problems, idempotency, waiting, OpenAPI, metrics."""
