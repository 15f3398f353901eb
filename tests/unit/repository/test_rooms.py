"""Who may import whom, and what a room loads when it starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODEL_LIBRARIES = {"torch", "onnxruntime", "onnx", "piper"}


def loaded_by(code: str) -> set[str]:
    """Top-level packages in a fresh process that ran ``code``."""
    script = f"{code}\nimport sys\nprint(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    return set(done.stdout.split())


def test_no_import_goes_against_the_rules_of_the_house() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout


def test_the_api_starts_without_numerics_or_model_libraries() -> None:
    loaded = loaded_by("import api.app; api.app.create_app()")
    assert "flask" in loaded
    assert not loaded & {*MODEL_LIBRARIES, "numpy", "soundfile", "soxr", "worker", "scheduler"}


def test_the_scheduler_starts_without_flask_numerics_or_model_libraries() -> None:
    loaded = loaded_by("import scheduler.__main__, scheduler.ticks")
    assert not loaded & {*MODEL_LIBRARIES, "numpy", "flask", "worker", "api"}


def test_the_workers_parent_loads_no_model_library() -> None:
    loaded = loaded_by("import worker.app, worker.tasks")
    assert "celery" in loaded
    assert not loaded & {*MODEL_LIBRARIES, "flask", "api", "scheduler"}


@pytest.mark.parametrize(
    "module", ["api.app", "scheduler.ticks", "stentor.settings", "stentor.cli.main", "worker.tasks"]
)
def test_importing_a_module_has_no_effect(module: str) -> None:
    # A variable that no setting reads would stop whoever read the environment.
    loaded_by(f"import os; os.environ['STENTOR_NONSENSE'] = '1'\nimport {module}")


def test_every_room_is_typed() -> None:
    assert [room for room in ("stentor", "api", "worker", "scheduler") if not (ROOT / room / "py.typed").exists()] == []
