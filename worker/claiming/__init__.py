"""Claiming: which jobs a device takes, and the claims that it holds."""
