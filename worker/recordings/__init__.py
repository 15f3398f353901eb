"""Uploaded voices: decoded in a process of their own, made alike, stored by content, and removed."""
