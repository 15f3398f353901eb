"""Requests that wait for an outcome: how many, for how long, and what wakes them."""
