"""Prints results: rich tables on a terminal, plain lines into a pipe, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

json_option = click.option("--json", "json_wanted", is_flag=True, help="Print the result as JSON.")


def console() -> Console:
    """Standard output for rich."""
    return Console(highlight=False, soft_wrap=True)


def print_json(data: Any) -> None:
    """Print ``data`` as one indented JSON object."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """Print rows below their column names; separated by tabs if standard output is not a terminal."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            click.echo("\t".join(_text(cell) for cell in row))
        return
    grid = Table(*columns, title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for row in rows:
        grid.add_row(*(_text(cell) for cell in row))
    console().print(grid)


def print_facts(pairs: Sequence[tuple[str, object]], *, title: str) -> None:
    """Print names and values, one pair per line."""
    if not sys.stdout.isatty():
        for name, value in pairs:
            click.echo(f"{name}: {_text(value)}")
        return
    grid = Table(title=title, box=box.ROUNDED, show_header=False, title_justify="left")
    grid.add_column(style="bold")
    # Fold: a URL or key that is wrapped with a hyphen cannot be copied.
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(name, _text(value))
    console().print(grid)


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.2f}"
    if isinstance(cell, list | tuple):
        return ", ".join(map(str, cell))
    return str(cell)
