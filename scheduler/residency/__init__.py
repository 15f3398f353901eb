"""Residency: which models are on their devices."""
