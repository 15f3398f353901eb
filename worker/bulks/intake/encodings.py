"""Which encoding a file of texts is in, and its lines, decoded strictly: a wrong byte is named, never replaced."""

from __future__ import annotations

import codecs
import dataclasses
import io
import itertools
from collections.abc import Iterator
from typing import Final

from stentor.errors import FileEncoding, FileUnreadable, RowMalformed

UTF_8: Final = "utf-8"
GB18030: Final = "gb18030"
#: Blank rows that a file may have, and two more for each row: Excel may write all the rows that a sheet can have.
MAX_BLANK: Final = 2**20
_SAVE_AS: Final = "save the file as UTF-8"
_BOMS: Final = (
    (codecs.BOM_UTF8, UTF_8),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    ("\ufeff".encode(GB18030), GB18030),
)
#: Every bulk has this somewhere in its header, or in each of its lines.
_TEXT: Final = "text"
#: Share of NUL bytes beyond which it is no text of one byte per letter with a slip in it.
_BINARY_NULS: Final = 0.1
#: Share of control characters beyond which what is no UTF-8 is no text at all.
_BINARY_CONTROLS: Final = 0.03
#: The most frequent characters: every second or third of a Chinese text is one of them. What is not Chinese, decoded
#: as if it were, has them by chance only, about 1 in 30.
_COMMON_HANZI: Final = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去"
    "法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点"
    "您请谢欢迎祝快乐早晚安吗呢吧這個們來為國說時會對過發後裡種經麼學現當沒動還進樣開實軍無與長機關點"
)
#: Fewest common ones among ideographs, and how many ideographs it takes to judge by that.
_COMMON_SHARE, _JUDGED_FROM = 0.1, 30


@dataclasses.dataclass(kw_only=True)
class Place:
    """Where reading stands, for errors to name; and how much of one row has been read, so that it can be limited."""

    #: The row that is being read, counted from 1; 0 before and in the header.
    row: int = 0
    #: The line of the file, counted from 1.
    line: int = 0
    #: Characters of the row so far. The reader of a row sets it back.
    chars: int = 0
    max_chars: int
    #: Rows with nothing in them, so far.
    blank: int = 0

    def pass_over(self) -> None:
        """Take note of a blank row.

        Raises:
            RowMalformed: there are a great many more of them than rows. Each costs time, and almost no bytes.
        """
        self.chars = 0
        self.blank += 1
        if self.blank > MAX_BLANK + 2 * self.row:
            raise RowMalformed(f"the file has {self.blank} blank rows until line {self.line}; take them out")

    def label(self) -> str:
        """The row in words."""
        return f"row {self.row}" if self.row else "the header"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoding:
    """How bytes are letters, and the bytes in front that only say so."""

    name: str
    bom: bytes = b""


def detect(sample: bytes, *, whole: bool) -> Encoding:
    """The encoding of a file that begins with ``sample``, and ends with it if that is the whole.

    UTF-8 unless it cannot be; a UTF-8 file with a wrong byte in it is still one. GB18030 if all of the sample is that,
    and reads like Chinese.

    Raises:
        FileEncoding: it is UTF-32.
        FileUnreadable: it is no text.
    """
    if sample.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise FileEncoding(f"The file is UTF-32. Use UTF-8, UTF-16 or GB18030: {_SAVE_AS}")
    for bom, name in _BOMS:
        if sample.startswith(bom):
            return Encoding(name=name, bom=bom)
    if b"\x00" in sample and (wide := _utf_16(sample)):
        return Encoding(name=wide)
    if sample.count(b"\x00") > len(sample) * _BINARY_NULS:
        raise FileUnreadable("The file is binary. Send CSV, TSV or JSON Lines, plain or gzip.")
    return Encoding(name=_narrow(sample, whole=whole))


def _utf_16(sample: bytes) -> str | None:
    """The UTF-16 without a mark in front that has the one word in it that it must have."""
    names = {name: sample.find(_TEXT.encode(name)) for name in ("utf-16-le", "utf-16-be")}
    found = [(at, name) for name, at in names.items() if at >= 0 and at % 2 == 0]
    if found:
        return min(found)[1]
    zeros = sample[0::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    if max(zeros) > half * 0.3 and min(zeros) < half * 0.01:
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    return None


def _narrow(sample: bytes, *, whole: bool) -> str:
    if _is(sample, UTF_8, whole=whole):
        return UTF_8
    seen = sample.decode(UTF_8, "replace")
    wrong = seen.count("\ufffd")
    right = sum(not char.isascii() for char in seen) - wrong
    if right > wrong:
        return UTF_8
    if _is(sample, GB18030, whole=whole) and _chinese(sample):
        return GB18030
    if _controls(sample) > len(sample) * _BINARY_CONTROLS:
        raise FileUnreadable("The file is binary. Send CSV, TSV or JSON Lines, plain or gzip.")
    # Whatever it is, reading it as UTF-8 finds the row and the byte.
    return UTF_8


def _controls(sample: bytes) -> int:
    return sum(map(sample.count, (bytes((code,)) for code in (*range(9), *range(14, 32)))))


def _is(sample: bytes, encoding: str, *, whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)("strict").decode(sample, final=whole)
    except UnicodeDecodeError:
        return False
    return True


def _chinese(sample: bytes) -> bool:
    """Whether a sample, read as GB18030, is what somebody would write: not Latin-1, Big5, Shift-JIS or EUC-KR."""
    wide = [char for char in sample.decode(GB18030, "ignore") if not char.isascii()]
    hanzi = [char for char in wide if "\u4e00" <= char <= "\u9fff"]
    usual = sum(len(code) == 2 and min(code) >= 0xA1 for code in (char.encode(GB18030) for char in hanzi))
    marks = sum("\u3000" <= char <= "\u303f" or "\uff01" <= char <= "\uffe5" or char in "·—‘’“”…€" for char in wide)
    common = sum(char in _COMMON_HANZI for char in hanzi)
    return (
        len(hanzi) + marks >= len(wide) * 0.9
        and usual >= len(hanzi) * 0.5
        and (len(hanzi) < _JUDGED_FROM or common >= len(hanzi) * _COMMON_SHARE)
    )


def _wrong_byte(error: UnicodeDecodeError, *, at: int, encoding: str, where: str) -> FileEncoding:
    return FileEncoding(
        f"byte {at} of the file (counted from 0), in {where}, is 0x{error.object[error.start]:02X}, which is no "
        f"{encoding.upper()} there ({error.reason}); use UTF-8, UTF-16 or GB18030 throughout: {_SAVE_AS}"
    )


def lines(stream: Iterator[bytes], encoding: Encoding, place: Place) -> Iterator[str]:
    """The lines of a file with their ends, which are LF, CRLF or CR.

    Raises:
        FileEncoding: a byte that the encoding does not have there; lines before it have been given.
        RowMalformed: a row that goes on and on.
        FileTooLarge, FileUnreadable: from the stream.
    """
    rest = ""
    for text in _texts(stream, encoding, place):
        buffer = rest + text
        # A CR may be half of a CRLF.
        full = buffer[:-1] if text and buffer.endswith("\r") else buffer
        cut = max(full.rfind("\n"), full.rfind("\r")) + 1 if text else len(full)
        rest = buffer[cut:]
        for line in io.StringIO(buffer[:cut], newline=""):
            place.line += 1
            place.chars += len(line)
            if place.chars > place.max_chars:
                raise _endless(place)
            yield line
        if len(rest) > place.max_chars:
            place.line += 1
            raise _endless(place)


def _endless(place: Place) -> RowMalformed:
    return RowMalformed(
        f"{place.label()} goes on for more than {place.max_chars} characters, until line {place.line} of the file; "
        "end each line, and use an even number of quotes in it"
    )


def _texts(stream: Iterator[bytes], encoding: Encoding, place: Place) -> Iterator[str]:
    """Decoded blocks, none of them empty, then an empty one that says it is the end."""
    decoder = codecs.getincrementaldecoder(encoding.name)("strict")
    read = len(encoding.bom)
    first = next(stream, b"")[read:]
    for block in itertools.chain((first,), stream, (None,)):
        try:
            text = decoder.decode(block or b"", final=block is None)
        except UnicodeDecodeError as exc:
            if good := exc.object[: exc.start].decode(encoding.name):
                yield good
            at = read + len(block or b"") - len(exc.object) + exc.start
            raise _wrong_byte(exc, at=at, encoding=encoding.name, where=place.label()) from exc
        read += len(block or b"")
        if text:
            yield text
    yield ""
