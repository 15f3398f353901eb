"""Bulks: files of texts checked, fed into the lanes a window at a time, and their results gathered."""
