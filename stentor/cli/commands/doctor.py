"""``stentor doctor``: checks what is installed, reachable and writable, with a remedy per line."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

import click

from stentor.cli import checks, exit_codes, output, service_checks
from stentor.cli.checks import Check, DoctorContext, Finding
from stentor.cli.finding import find_settings, running
from stentor.errors import StentorError

_MARKS = {"ok": "ok", "note": "-", "missing": "MISSING"}
CHECKS: tuple[Check, ...] = (
    checks.python,
    checks.packages,
    checks.servers,
    checks.settings,
    checks.data_dir,
    service_checks.redis_server,
    service_checks.storage,
    service_checks.api,
    service_checks.live_devices,
    checks.gpus,
)


@click.command()
@output.json_option
def doctor(json_wanted: bool) -> None:
    """Check what is installed, reachable and writable. Exits with 1 if something that is needed is missing."""
    findings = run_checks(os.environ)
    healthy = all(finding.status != "missing" for finding in findings)
    if json_wanted:
        output.print_json({"healthy": healthy, "findings": [dataclasses.asdict(finding) for finding in findings]})
    else:
        rows = [(_MARKS[found.status], found.name, found.seen, found.remedy) for found in findings]
        output.print_table(("", "what", "seen", "remedy"), rows)
    if not healthy:
        raise click.exceptions.Exit(exit_codes.FAILED)


def run_checks(environ: Mapping[str, str]) -> list[Finding]:
    """Run all checks and return their findings in order."""
    try:
        settings = find_settings()
    except StentorError:
        settings = None  # the check of the settings reports the error
    context = DoctorContext(environ=environ, run=running(), settings=settings)
    return [finding for check in CHECKS for finding in check(context)]
