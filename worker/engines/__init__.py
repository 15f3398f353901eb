"""Engines: code that loads one kind of model and speaks a batch."""
