"""Owners: their keys, and what each key used."""
