"""What the scheduler exports to Prometheus and logs of its machine."""
