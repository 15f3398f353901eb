"""How commands show things: rich tables to people, plain lines to pipes, JSON to programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table


def console() -> Console:
    """Standard output, as rich sees it."""
    return Console(highlight=False, soft_wrap=True)


def as_json(data: Any) -> None:
    """Print ``data`` as JSON, one object, readable."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """Print rows below their column names; tab-separated without frame when nobody looks."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            click.echo("\t".join(_text(cell) for cell in row))
        return
    drawn = Table(*columns, title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for row in rows:
        drawn.add_row(*(_text(cell) for cell in row))
    console().print(drawn)


def facts(pairs: Sequence[tuple[str, object]], *, title: str) -> None:
    """Print names and values, one pair a line."""
    if not sys.stdout.isatty():
        for name, value in pairs:
            click.echo(f"{name}: {_text(value)}")
        return
    drawn = Table(title=title, box=box.ROUNDED, show_header=False, title_justify="left")
    drawn.add_column(style="bold")
    # An address or a key that is broken over two lines cannot be copied.
    drawn.add_column(overflow="fold")
    for name, value in pairs:
        drawn.add_row(name, _text(value))
    console().print(drawn)


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.2f}"
    if isinstance(cell, list | tuple):
        return ", ".join(map(str, cell))
    return str(cell)
