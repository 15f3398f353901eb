"""Sweeps: what got stuck is put right, and what has expired is removed."""
