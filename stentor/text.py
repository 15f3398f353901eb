"""Cleaning of texts before they are spoken: the same letters, without invisible characters."""

from __future__ import annotations

import re
import unicodedata

from stentor.errors import TextEmpty, TextInvalid, TextTooLong, TextUnspeakable

#: A line break after a line shorter than this is intended (a title, a list, an address). After a longer line an editor
#: or a mail program wrapped the paragraph, which happens at 60 characters and more.
WRAPPED_LINE_CHARS = 40
#: Maximum number of combining marks on one letter: the limit of Unicode's Stream-Safe Text Format (UAX #15, section
#: 13). No language needs as many, and without a limit many marks take quadratic time to normalise.
MAX_MARKS = 30

#: Control characters, except those that separate lines and words, and lone surrogates.
_INVALID = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
_INVISIBLE = re.compile(
    "["
    "\u00ad\u034f"  # soft hyphen, grapheme joiner
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, embeddings and isolates of bidirectional text
    "\u115f\u1160\u3164\uffa0"  # Hangul fillers: letters by name, empty to the eye
    "\u180e\u200b\u2060-\u2064\u206a-\u206f\ufeff"  # zero-width spaces, word joiner, byte order mark
    "\ufff9-\ufffb\U000e0000-\U000e007f"  # annotations and tags
    "]+"
)
#: Zero-width (non-)joiners, except those that shape the script before them (Arabic and related scripts, the scripts of
#: India and South-East Asia, Mongolian) and those inside an emoji.
_STRAY_JOINER = re.compile(
    "(?<![\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1700-\u18af\u1900-\u1aaf\u1b00-\u1c4f\ua800-\uabff"
    "\ufb50-\ufdff\ufe0f\ufe70-\ufeff\u2190-\u2bff\U00010a00-\U00011fff\U0001f000-\U0001faff])[\u200c\u200d]+"
)

#: A run of possible marks longer than ``MAX_MARKS``. The ranges contain all combining marks and many other characters.
#: A text without such a run has no letter with too many marks, and needs no check letter by letter.
_MAYBE_PILE = re.compile(
    "[\u0300-\u1fff\u20d0-\u20ff\u2c00-\u2dff\u302a-\u309a\ua66f-\uabff\ufb1e\ufe20-\ufe2f\U00010000-\U0001ffff]"
    f"{{{MAX_MARKS + 1}}}"
)
_LINE_BREAK = re.compile("[\n\r\x0b\x0c\x85\u2028\u2029]")


def clean(text: str, *, max_chars: int) -> str:
    """The text in Unicode NFC with single spaces, one ``\\n`` between paragraphs, and no invisible characters.

    A line break within a paragraph becomes a space; see ``WRAPPED_LINE_CHARS``.

    Raises:
        TextTooLong: the text as sent has more than ``max_chars`` characters; checked first, so a huge text is cheap.
        TextInvalid: it has a control character or a lone surrogate.
        TextEmpty: it has only white space and invisible characters.
        TextUnspeakable: it has no letter and no number (only emoji, only punctuation).
    """
    if len(text) > max_chars:
        raise TextTooLong(f"The text has {len(text)} characters; at most {max_chars} are allowed.")
    if invalid := _INVALID.search(text):
        kind = "a lone surrogate" if invalid[0] >= "\ud800" else "a control character"
        raise TextInvalid(
            f"Character {invalid.start() + 1} of the text is U+{ord(invalid[0]):04X}, {kind}; "
            "letters, numbers, punctuation, symbols and white space are allowed."
        )
    cleaned = _paragraphs(text) if text.isascii() else _clean_unicode(text)
    if not cleaned:
        raise TextEmpty(
            f"The text has {len(text)} characters, none of them visible; at least one letter or number is required."
        )
    if not speakable(cleaned):
        raise TextUnspeakable(
            f"The text has {len(text)} characters, but no letter and no number; at least one is required."
        )
    return cleaned


def _clean_unicode(text: str) -> str:
    visible = _INVISIBLE.sub("", text)
    if "\u200c" in visible or "\u200d" in visible:
        visible = _STRAY_JOINER.sub("", visible)
    return unicodedata.normalize("NFC", _paragraphs(_without_piles(visible)))


def speakable(text: str) -> bool:
    """Whether the text has a letter or a number, in any script."""
    return any(map(str.isalnum, text))


def _paragraphs(text: str) -> str:
    if not _LINE_BREAK.search(text):
        return " ".join(text.split())
    paragraphs: list[list[str]] = []
    goes_on = False
    for raw in text.replace("\u2029", "\n\n").splitlines():
        line = " ".join(raw.split())
        if line and goes_on:
            paragraphs[-1].append(line)
        elif line:
            paragraphs.append([line])
        goes_on = len(line) >= WRAPPED_LINE_CHARS
    return "\n".join(" ".join(lines) for lines in paragraphs)


def _without_piles(text: str) -> str:
    if not _MAYBE_PILE.search(text):
        return text
    kept: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        if marks <= MAX_MARKS:
            kept.append(char)
    return "".join(kept)
