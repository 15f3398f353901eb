"""Webhooks: endpoints, deliveries, and the addresses that they may have."""
