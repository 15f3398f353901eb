"""Names that become names of files: checked so that they stay in their folder, and can be written on every system."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from stentor.errors import FilenameUnsafe
from stentor.formats import FORMATS

#: Longest part of a path and longest path, in bytes of UTF-8. File systems take 255 per part; zip tools and Windows
#: less per path, and folders of the client's own come before it.
MAX_PART_BYTES, MAX_PATH_BYTES = 120, 240
#: Ends of names that say what is in the file, and would lie if that were not so.
_AUDIO: Final = frozenset(
    {one.extension for one in FORMATS.values()}
    | {"opus", "oga", "m4a", "mp4", "aac", "wma", "aif", "aiff", "pcm", "raw", "au", "amr", "webm"}
)
#: Control characters, lone surrogates, line separators, and marks that make a name look like another one.
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_REFUSED: Final = re.compile(r'[<>:"|?*\\]')
#: Names that Windows keeps for devices, whatever comes after a dot (learn.microsoft.com, "Naming Files").
_DEVICE: Final = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])[ ]*(?:\..*)?", re.IGNORECASE)
#: Paths that are safe at a glance, as most are: letters, numbers, no device among the parts.
_PLAIN: Final = re.compile(
    r"(?!/)(?:(?:/|^)(?!(?:con|prn|aux|nul|com\d|lpt\d|conin|conout)\b)[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)+",
    re.ASCII | re.IGNORECASE,
)


def shown(value: object) -> str:
    """A value as a sentence shows it: in quotes, and not more of it than it takes."""
    text = repr(value[:64] if isinstance(value, str) else value)
    return f"{text[:60]}..." if len(text) > 60 else text


def unprintable(text: str) -> str | None:
    """The first character that no name should have; None if there is none."""
    if text.isascii() and text.isprintable():
        return None
    found = _UNPRINTABLE.search(text)
    return found[0] if found else None


def file_name(name: str, *, extension: str) -> str:
    """The path, relative and with ``/``, in Unicode NFC and with the extension; it is added if it is not there.

    Raises:
        FilenameUnsafe: it leads elsewhere, or some system refuses it, or it says that it is audio of another format.
    """
    path = unicodedata.normalize("NFC", name)
    if not (len(path) <= MAX_PART_BYTES and _PLAIN.fullmatch(path)):
        _check_parts(path, whole=name)
    stem, dot, end = path.rpartition(".")
    if "/" in path:
        _check_folders(path, whole=name)
    if dot and end.lower() in _AUDIO:
        if end.lower() != extension:
            raise FilenameUnsafe(f"the file name {shown(name)} ends in '.{end}', but the row's format is {extension!r}")
        if not stem or stem.endswith("/"):
            raise FilenameUnsafe(f"The file name {shown(name)} has nothing before '.{end}'. Add a name.")
    else:
        path = f"{path}.{extension}"
    if len(path.encode()) > MAX_PATH_BYTES:
        size = len(path.encode())
        raise FilenameUnsafe(f"the file name {shown(name)} has {size} bytes; at most {MAX_PATH_BYTES} are allowed")
    return path


def _check_parts(path: str, *, whole: str) -> None:
    if path.startswith("/"):
        raise FilenameUnsafe(f"The file name {shown(whole)} begins with '/'. Use a path within the bulk's folder.")
    for part in path.split("/"):
        check_part(part, whole=whole)


def _check_folders(path: str, *, whole: str) -> None:
    """Refuse a folder with the name of a possible file: an archive with both cannot be unpacked."""
    *folders, _ = path.split("/")
    for folder in folders:
        if folder.rpartition(".")[2].lower() in FORMATS:
            raise FilenameUnsafe(f"the file name {shown(whole)} has the folder {shown(folder)}, which is a file's name")


def check_part(part: str, *, whole: str) -> None:
    """Let one part of a path pass, that of a folder or of a file, if it is safe everywhere.

    Raises:
        FilenameUnsafe: it is not; ``whole`` is what the client wrote.
    """
    reason = _unsafe(part)
    if reason:
        raise FilenameUnsafe(f"The name {shown(whole)} {reason}. Use a name that is valid in every file system.")


def _unsafe(part: str) -> str | None:
    size = len(part.encode("utf-8", "surrogatepass"))
    if char := unprintable(part):
        return f"has the character U+{ord(char):04X}"
    if found := _REFUSED.search(part):
        return f"has a {found[0]!r}"
    if not part.strip() or part in {".", ".."}:
        return f"has the part {part!r}"
    if part[-1] in ". ":
        return "has a part that ends with a dot or a space"
    if _DEVICE.fullmatch(part):
        return f"has the part {shown(part)}, which Windows keeps for a device"
    return f"has a part of {size} bytes, and {MAX_PART_BYTES} are allowed" if size > MAX_PART_BYTES else None
