"""What the audio of a bulk's row is called, in an archive and in a folder: a name that every file system takes."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from stentor.formats import FORMATS

#: Bytes of a part of a name in UTF-8. File systems take 255; what is added (row, ending, a number) needs some of them.
PART_BYTES: Final = 120
#: Characters that a name keeps, in addition to letters and digits. None leads anywhere or has a meaning in a shell.
_KEPT: Final = frozenset("-_.+=@ ")
#: Signs that lead somewhere, or that some file systems refuse.
_REFUSED: Final = frozenset('<>:"|?*\\/')
#: Names that Windows keeps for devices, whatever their ending.
_DEVICES: Final = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{port}{number}" for port in ("com", "lpt") for number in range(10)}
)


def safe_part(text: str) -> str:
    """``text`` as one part of a path: no separators, no signs that a file system refuses, not too long, not empty."""
    composed = unicodedata.normalize("NFC", text)
    safe = "".join(char if char.isalnum() or char in _KEPT else "_" for char in composed)
    short = safe.encode("utf-8", "replace")[:PART_BYTES].decode("utf-8", "ignore").strip(" .")
    if short.partition(".")[0].casefold() in _DEVICES:
        return f"_{short}"
    return short or "_"


def audio_name(line: Mapping[str, Any]) -> str:
    """The relative path of the audio of a line of the manifest: its ``filename``, or ``<row>-<id>.<ending>``."""
    if line.get("filename"):
        # Checking has let it pass. Who writes files by it does not depend on that.
        parts = str(line["filename"]).split("/")
        return "/".join(part if _is_harmless(part) else safe_part(part) for part in parts if part) or "_"
    return f"{line['row']}-{safe_part(str(line['id']))}.{FORMATS[line['format']].extension}"


def _is_harmless(part: str) -> bool:
    return (
        part.isprintable()
        and not _REFUSED.intersection(part)
        and part == part.strip(" .")
        and part.partition(".")[0].casefold() not in _DEVICES
        and len(part.encode("utf-8", "replace")) <= 2 * PART_BYTES
    )
