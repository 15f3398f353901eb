"""A function that checks content as a file of texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.work.intake import Check, checker


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """A function that checks content as a file of texts."""
    return checker(tmp_path)
