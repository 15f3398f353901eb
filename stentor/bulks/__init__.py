"""Bulks: files of texts, their rows and their manifest."""
