"""``stentor doctor``: what is reachable, writable and missing, with a remedy per line."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

import click

from stentor.cli import checks, exit_codes, output
from stentor.cli.finding import find_settings, running
from stentor.errors import StentorError

_MARKS = {"ok": "ok", "note": "-", "missing": "MISSING"}


@click.command()
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def doctor(json_wanted: bool) -> None:
    """Tell what is reachable, writable and missing. Exits with 1 if something that is needed is missing."""
    findings = examine(os.environ)
    healthy = all(finding.status != "missing" for finding in findings)
    if json_wanted:
        output.as_json({"healthy": healthy, "findings": [dataclasses.asdict(finding) for finding in findings]})
    else:
        rows = [(_MARKS[found.status], found.name, found.seen, found.remedy) for found in findings]
        output.table(("", "what", "seen", "remedy"), rows)
    if not healthy:
        raise click.exceptions.Exit(exit_codes.FAILED)


def examine(environ: Mapping[str, str]) -> list[checks.Finding]:
    """All findings, in the order of the checks."""
    try:
        settings = find_settings()
    except StentorError:
        settings = None  # the check of the settings names what is wrong
    patient = checks.Patient(environ=environ, run=running(), settings=settings)
    return [finding for check in checks.CHECKS for finding in check(patient)]
