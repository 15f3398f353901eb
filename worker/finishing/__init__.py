"""Finishing: audio joined, checked, encoded, stored, and the job settled."""
