"""Intake: a file of texts is checked as a whole before anything of it is spoken."""
