"""Cells of CSV files that people open in a spreadsheet: what a client wrote is shown there, and never run."""

from __future__ import annotations

from typing import Final

#: What spreadsheets take for the beginning of a formula, or pass over on the way to one (OWASP, "CSV Injection").
_DANGEROUS: Final = ("=", "+", "-", "@", "\t", "\r")


def safe_cell(text: str) -> str:
    """The text as a cell that no spreadsheet runs as a formula: with ``'`` before it if it begins like one."""
    return f"'{text}" if text.startswith(_DANGEROUS) else text
