"""Voices: those that models ship, and uploaded recordings."""
