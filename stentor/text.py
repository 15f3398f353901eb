"""Texts as clients send them, made fit to be spoken: the same letters, without what nobody can see or say."""

from __future__ import annotations

import re
import unicodedata

from stentor.errors import TextEmpty, TextInvalid, TextTooLong, TextUnspeakable

#: A line break after a line shorter than this was meant (a title, a list, an address); after a longer one it is
#: where an editor or a mail program wrapped the paragraph, which happens at 60 characters and more.
WRAPPED_LINE_CHARS = 40
#: Most combining marks that one letter keeps. The limit of Unicode's Stream-Safe Text Format (UAX #15, section 13);
#: no language comes near it, and without it a pile of marks takes quadratic time to normalise.
MAX_MARKS = 30

#: Control characters but for those that separate lines and words, and lone surrogates.
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
#: Zero-width (non-)joiners, but for those that shape the script before them: Arabic and its neighbours, the scripts
#: of India and South-East Asia, Mongolian; and those that hold an emoji together.
_STRAY_JOINER = re.compile(
    "(?<![\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1700-\u18af\u1900-\u1aaf\u1b00-\u1c4f\ua800-\uabff"
    "\ufb50-\ufdff\ufe0f\ufe70-\ufeff\u2190-\u2bff\U00010a00-\U00011fff\U0001f000-\U0001faff])[\u200c\u200d]+"
)

#: Where a pile of marks may be: a run, longer than a pile may be, of what could be one. All that combines is in it,
#: with much that does not; most texts are known by it to have no piles, and need not be looked at letter by letter.
_MAYBE_PILE = re.compile(
    "[\u0300-\u1fff\u20d0-\u20ff\u2c00-\u2dff\u302a-\u309a\ua66f-\uabff\ufb1e\ufe20-\ufe2f\U00010000-\U0001ffff]"
    f"{{{MAX_MARKS + 1}}}"
)
_LINE_BREAK = re.compile("[\n\r\x0b\x0c\x85\u2028\u2029]")


def clean(text: str, *, max_chars: int) -> str:
    """The text in Unicode NFC with single spaces, paragraphs parted by one ``\\n``, and nothing invisible in it.

    A line break within a paragraph becomes a space, as an editor may have put it there; see ``WRAPPED_LINE_CHARS``.

    Raises:
        TextTooLong: more than ``max_chars`` characters as sent; looked at first, so that a huge text costs nothing.
        TextInvalid: a control character or a lone surrogate.
        TextEmpty: nothing but white space and invisible characters.
        TextUnspeakable: no letter and no number (only emoji, only punctuation).
    """
    if len(text) > max_chars:
        raise TextTooLong(f"The text has {len(text)} characters; at most {max_chars} are allowed")
    if invalid := _INVALID.search(text):
        kind = "a lone surrogate" if invalid[0] >= "\ud800" else "a control character"
        raise TextInvalid(
            f"Character {invalid.start() + 1} of the text is U+{ord(invalid[0]):04X}, {kind}; "
            "letters, numbers, punctuation, symbols and white space are allowed"
        )
    cleaned = _paragraphs(text) if text.isascii() else _clean_unicode(text)
    if not cleaned:
        raise TextEmpty(
            f"The text has {len(text)} characters, none of them visible; at least one letter or number is wanted"
        )
    if not speakable(cleaned):
        raise TextUnspeakable(
            f"The text has {len(text)} characters, but 0 letters and 0 numbers among them; at least 1 is wanted"
        )
    return cleaned


def _clean_unicode(text: str) -> str:
    visible = _INVISIBLE.sub("", text)
    if "\u200c" in visible or "\u200d" in visible:
        visible = _STRAY_JOINER.sub("", visible)
    return unicodedata.normalize("NFC", _paragraphs(_without_piles(visible)))


def speakable(text: str) -> bool:
    """Whether there is a letter or a number in the text, in whatever script."""
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
