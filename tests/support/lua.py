"""The Lua scripts as files: their names, and what their first comments say."""

from __future__ import annotations

from pathlib import Path

from stentor.redis import scripts

FOLDER = Path(scripts.__file__).parent / "lua"


def script_names() -> list[str]:
    """All scripts that are called, as ``script`` takes them."""
    names = [str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.lua")]
    return sorted(name for name in names if not name.startswith("shared/"))


def header(name: str) -> list[str]:
    """The lines of the comment that a script opens with."""
    lines = (FOLDER / f"{name}.lua").read_text("utf-8").splitlines()
    lines = lines[1:] if lines[0].startswith(scripts.INCLUDE) else lines
    end = next(at for at, line in enumerate(lines) if not line.startswith("--"))
    return [line.removeprefix("--").strip() for line in lines[:end]]


def purpose(name: str) -> str:
    """What a script is for: the first paragraph of its header."""
    lines = header(name)
    return " ".join(lines[: lines.index("")])
