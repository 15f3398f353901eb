"""What the scheduler exports to Prometheus and logs about its machine."""
