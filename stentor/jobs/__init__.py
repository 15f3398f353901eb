"""Jobs: one text each, from submission to outcome."""
