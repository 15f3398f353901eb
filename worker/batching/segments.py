"""Cuts a long text, so that each piece is short enough for the engine and sounds whole.

Pure: sentence ends first, then clause ends, then words, then between letters. No rule depends on the language, only on
the text's script and punctuation.
"""

from __future__ import annotations

import bisect
import re
import unicodedata
from collections.abc import Iterator, Sequence

#: A sentence shorter than this is merged with the next one. It is about 2.5 s of English at 15 characters a second:
#: shorter utterances sound hasty from a VITS voice, and each would cost a row of its own. A judgement, not measured.
SHORT_CHARS = 40

#: Silence after a segment, in seconds, by how it ends. Campione and Véronis ("A large-scale multilingual study of
#: silent pause duration", Speech Prosody 2002) call pauses below 0.2 s brief and 0.2 s to 1 s medium; engines
#: leave a little silence of their own at both ends of a segment, so ours stay at the short end of each kind.
PARAGRAPH_PAUSE_S = 0.6
SENTENCE_PAUSE_S = 0.35
CLAUSE_PAUSE_S = 0.18
#: Between words, and inside a word: the cut is due to the engine's limit, the text has no pause there.
WORD_PAUSE_S = 0.0

_CLOSERS = "\"'”’»›)\\]}」』）】》〉｣"
#: After a Latin mark and before a space these close too, as in „Ja.“ and »Ja.«; in other places they may open.
_LATIN_CLOSERS = f"{_CLOSERS}“‘«‹"
_OPENERS = "\"'“‘„‚«‹(\\[{「『（【《〈｢¿¡"
#: Ends a sentence in any position: CJK, Devanagari and its neighbours, Arabic and Urdu, Armenian, Ethiopic,
#: Myanmar, Khmer, Tibetan.
_FULL_STOPS = "。！？｡；।॥؟۔։።፧။៕༎"
#: Separates clauses in any position: CJK, Arabic, Ethiopic, Myanmar.
_FULL_COMMAS = "，、：､،؛፣၊"
#: Thai and Lao, which write spaces between phrases and sentences, but not between words.
_PHRASE_SPACED = "\u0e01-\u0e4e\u0e81-\u0ece"
_CJK = "\u3040-\u30ff\u3400-\u9fff"

#: Marks that begin no printed line, so they begin no segment.
_NEVER_FIRST = f"{_CLOSERS}{_FULL_STOPS}{_FULL_COMMAS},;:.!?…"
_FLAG_LETTERS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_PHRASE_LETTER = re.compile(f"[{_PHRASE_SPACED}]")

_SENTENCE_END = re.compile(
    f"(?P<full>[{_FULL_STOPS}]+[.!?…]*[{_CLOSERS}]*)"
    # Only from the beginning of a run of marks: starting at each mark, a run of thousands takes quadratic time.
    f"|(?<![.!?…])(?P<latin>[.!?…]++[{_LATIN_CLOSERS}]*+(?: [»!?](?=\\s|$))*+)(?:(?=\\s|$)|(?<=[!?])(?=[{_CJK}]))"
    f"|(?<=[{_PHRASE_SPACED}])(?P<phrase>)\\s+(?=[{_PHRASE_SPACED}])"
)
_CLAUSE_END = re.compile(
    f"[{_FULL_COMMAS}{_FULL_STOPS}][{_CLOSERS}]*|[,;:.!?…][{_LATIN_CLOSERS}]*(?=\\s)|\\s[–—-]+(?=\\s)|—|\\s(?=[(\\[])"
)
_SPACE = re.compile(r"\s+")
_TRAILING_CLOSERS = re.compile(f"[{_LATIN_CLOSERS}\\s]+$")
_NEXT_LOWER = re.compile(f"[\\s{_OPENERS}–—-]*(?P<char>.)?", re.DOTALL)
#: The last word before a full stop; no abbreviation is longer.
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘„«/-]{1,12}$")
_LAST_WORD_CHARS = 13

#: Words whose full stop does not end a sentence, because a name or the rest of the phrase follows: English; German
#: and Dutch; French, Spanish, Portuguese and Italian; Polish and Russian.
_ABBREVIATIONS = """
    mr mrs ms dr prof rev hon gen col capt lt sgt sen rep gov pres st mt ft ave blvd rd vs e.g i.e cf viz al co messrs
    hr fr frl nr str bzw ca z.b d.h u.a evtl ggf inkl zzgl dhr mevr bijv
    mm mme mlle sr sra srta dra ud uds sig dott avv
    np ul г ул т.е т.к
"""
#: Words whose full stop does not end a sentence when a number follows.
_BEFORE_NUMBERS = """
    no nos nr núm p pp pg vol ch sec fig art par ext apt approx tel
    jan feb mar apr jun jul aug sep sept oct nov dec
"""
#: Words that a German number with a full stop goes on with: "am 24. Dezember", "im 2. Stock".
_AFTER_ORDINALS = """
    januar jänner februar märz april mai juni juli august september oktober november dezember
    jahrhundert stock etage klasse
"""
_ABBREVIATION_SET = frozenset(_ABBREVIATIONS.split())
_BEFORE_NUMBER_SET = frozenset(_BEFORE_NUMBERS.split())
_AFTER_ORDINAL_SET = frozenset(_AFTER_ORDINALS.split())
_NEXT_WORD = re.compile(r"\s+(\w{3,11})\b")


def split(text: str, max_chars: int) -> list[str]:
    """The text's segments in order, each of 1 to ``max_chars`` characters, without white space around them.

    Every character except white space is in exactly one segment. A segment that ends a paragraph, except the last one,
    ends with ``\\n``, which ``pause_s`` looks for. A segment may contain nothing that can be spoken (see
    ``stentor.text.speakable``) if the text has that much of it in one place.
    """
    if max_chars < 1:
        raise ValueError(f"max_chars is {max_chars}; the minimum is 1.")
    paragraphs = [paragraph for paragraph in text.split("\n") if paragraph.strip()]
    # Leaves room for the "\n", if possible.
    limit = max_chars - 1 if len(paragraphs) > 1 and max_chars > 1 else max_chars
    segments: list[str] = []
    for number, paragraph in enumerate(paragraphs, start=1):
        pieces = _merge_short(list(_pieces(paragraph, limit)), limit)
        segments += [paragraph[start:end] for start, end in pieces]
        if number < len(paragraphs) and limit < max_chars:
            segments[-1] += "\n"
    return segments


def pause_s(segment: str, next_segment: str) -> float:
    """The silence between a segment and the one after it, in seconds; 0 when ``next_segment`` is empty."""
    if not next_segment:
        return 0.0
    if segment.endswith("\n"):
        return PARAGRAPH_PAUSE_S
    last = _TRAILING_CLOSERS.sub("", segment)[-1:]
    if last and last in _FULL_STOPS + ".!?…":
        return CLAUSE_PAUSE_S if _goes_on_in_lower_case(next_segment, 0) else SENTENCE_PAUSE_S
    if last and last in _FULL_COMMAS + ",;:–—":
        return CLAUSE_PAUSE_S
    phrases = _PHRASE_LETTER.match(last) and _PHRASE_LETTER.match(next_segment)
    return CLAUSE_PAUSE_S if phrases else WORD_PAUSE_S


Span = tuple[int, int]


def _pieces(paragraph: str, limit: int) -> Iterator[Span]:
    """Spans of the paragraph's sentences without the white space around them, cut where they exceed the limit."""
    start = 0
    for end in [*_sentence_ends(paragraph), len(paragraph)]:
        span = _trim(paragraph, start, end)
        if span[0] < span[1]:
            yield from _cut(paragraph, span, limit)
        start = end


def _merge_short(pieces: Sequence[Span], limit: int) -> list[Span]:
    merged: list[Span] = []
    for start, end in pieces:
        if merged and merged[-1][1] - merged[-1][0] < SHORT_CHARS and end - merged[-1][0] <= limit:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    # A short one at the very end has no next one to merge with.
    if len(merged) > 1 and merged[-1][1] - merged[-1][0] < SHORT_CHARS and merged[-1][1] - merged[-2][0] <= limit:
        merged[-2:] = [(merged[-2][0], merged[-1][1])]
    return merged


def _sentence_ends(paragraph: str) -> Iterator[int]:
    # Writers who use no capitals still end sentences.
    has_case = paragraph != paragraph.lower()
    for match in _SENTENCE_END.finditer(paragraph):
        if match["latin"] is None or not _is_inside(paragraph, match, has_case=has_case):
            yield match.end()


def _is_inside(paragraph: str, match: re.Match[str], *, has_case: bool) -> bool:
    """Whether this Latin full stop, question or exclamation mark stands inside a sentence."""
    if has_case and _goes_on_in_lower_case(paragraph, match.end()):
        return True
    if match["latin"] != ".":
        return False
    before = _LAST_WORD.search(paragraph, max(0, match.start() - _LAST_WORD_CHARS), match.start())
    word = before[0].lower() if before else ""
    # "J.", "U.S.", "a.m.": a letter, or letters with full stops between them; "1." that opens a list.
    if all(len(part) == 1 and part.isalpha() and part not in _CJK for part in word.split(".")):
        return True
    if word.isdecimal():
        next_word = _NEXT_WORD.match(paragraph, match.end())
        is_ordinal = bool(next_word and next_word[1].lower() in _AFTER_ORDINAL_SET)
        return is_ordinal or not paragraph[: match.start() - len(word)].strip()
    follows = paragraph[match.end() + 1 : match.end() + 2]
    return word in _ABBREVIATION_SET or (word in _BEFORE_NUMBER_SET and follows.isdecimal())


def _goes_on_in_lower_case(text: str, position: int) -> bool:
    found = _NEXT_LOWER.match(text, position)
    return bool(found and found["char"] and found["char"].islower())


def _cut(text: str, span: Span, limit: int) -> Iterator[Span]:
    """The span in pieces of similar length within the limit: halved at the best place near the middle, repeatedly."""
    if span[1] - span[0] <= limit:
        yield span
        return
    clauses = [match.end() for match in _CLAUSE_END.finditer(text, *span)]
    words = [match.start() for match in _SPACE.finditer(text, *span)]
    todo = [span]
    while todo:
        start, end = todo.pop()
        if end - start <= limit:
            yield start, end
            continue
        at = _best_cut(text, start, end, limit, clauses, words)
        todo += [part for part in (_trim(text, at, end), _trim(text, start, at)) if part[0] < part[1]]


def _best_cut(text: str, start: int, end: int, limit: int, clauses: Sequence[int], words: Sequence[int]) -> int:
    middle = (start + end) // 2
    # A cut outside the middle half would leave a scrap on one side.
    quarter = (end - start) // 4
    for places in (clauses, words):
        if (at := _nearest(places, middle)) is not None and start + quarter < at < end - quarter:
            return at
    # A scrap is better than half a word.
    if (at := _nearest(words, middle)) is not None and start < at < end:
        return at
    for may_cut in (_parts_syllables, _parts_graphemes):
        for distance in range(min((end - start + 1) // 2, limit)):
            for at in (middle - distance, middle + distance):
                if start < at < end and may_cut(text, at):
                    return at
    return middle  # one grapheme longer than a segment does not occur in real writing


def _nearest(places: Sequence[int], middle: int) -> int | None:
    right = bisect.bisect_left(places, middle)
    return min(places[max(0, right - 1) : right + 1], key=lambda place: abs(place - middle), default=None)


def _trim(text: str, start: int, end: int) -> Span:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def _parts_syllables(text: str, at: int) -> bool:
    """Whether a cut before ``at`` also keeps numbers, syllables and brackets whole."""
    before, after = text[at - 1], text[at]
    return (
        _parts_graphemes(text, at)
        and not (before.isdecimal() and after.isdecimal())
        and not (before in ".,:" and after.isdecimal() and text[at - 2 : at - 1].isdecimal())  # 3.14 and 1,500
        and after not in _NEVER_FIRST
        and before not in _OPENERS
        and not "\u0e40" <= before <= "\u0e44"  # Thai and Lao vowels that are written before their consonant
        and not "\u0ec0" <= before <= "\u0ec4"
        and unicodedata.combining(before) != 9  # a virama joins the next consonant
    )


def _parts_graphemes(text: str, at: int) -> bool:
    """Whether a grapheme, one character to a reader, ends before ``at`` (rules of UAX #29 that matter here)."""
    before, after = text[at - 1], text[at]
    return not (
        unicodedata.category(after).startswith("M")
        or after in "\u0e33\u0eb3\u200c\u200d"  # the Thai and Lao vowel am; joiners belong to the character before them
        or before == "\u200d"
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # skin tones
        or _splits_flag(text, at)
        or ("\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff")
        or ("\u1100" <= before <= "\u11ff" and "\u1160" <= after <= "\u11ff")  # Hangul written in single letters
        or (before == "\r" and after == "\n")
    )


def _is_flag_letter(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _splits_flag(text: str, at: int) -> bool:
    """Whether the cut would leave half of a flag on each side: flags are two letters, counted from where they begin."""
    if not (_is_flag_letter(text[at - 1]) and _is_flag_letter(text[at])):
        return False
    head = text[:at]
    return (at - len(head.rstrip(_FLAG_LETTERS))) % 2 == 1
