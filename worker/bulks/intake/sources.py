"""The bytes of a file of texts: unpacked with a limit if it is gzip, and refused if they are no text."""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from stentor.errors import FileEmpty, FileTooLarge, FileUnreadable

#: Bytes that are read at a time.
BLOCK_BYTES: Final = 2**18
#: Number of bytes that decide what a file is.
SAMPLE_BYTES: Final = 2**20
#: Parts that a gzip may be put together of; each costs time. Tools that pack in parallel make one of every 64 KiB.
MAX_MEMBERS: Final = 65_536
_GZIP: Final = b"\x1f\x8b"
_SAVE_AS: Final = "save it as CSV (UTF-8), then send that"
_PACKED: Final = rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|BZh[1-9]1AY&SY|\xfd7zXZ\x00|\x28\xb5\x2f\xfd"
#: What people send by mistake, by how it begins.
_OTHERS: Final = (
    (re.compile(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)"), f"a ZIP archive, as Excel workbooks (.xlsx) are; {_SAVE_AS}"),
    (
        re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        f"an Office document, as Excel workbooks (.xls) are; {_SAVE_AS}",
    ),
    (re.compile(rb"%PDF-"), "a PDF"),
    (re.compile(rb"\{\\rtf"), f"a text document (RTF); {_SAVE_AS}"),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "audio (WAV)"),
    (re.compile(rb"OggS|fLaC|ID3[\x02-\x04]|\xff[\xfb\xf3\xf2]"), "audio"),
    (re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP", re.DOTALL), "an image"),
    (re.compile(_PACKED), "packed in a way other than gzip"),
    (re.compile(rb"PAR1[\x00-\x1f]|SQLite format 3\x00|\x7fELF"), "a binary file"),
    (re.compile(_GZIP), "gzip within gzip; pack it once"),
)


def blocks(path: Path, *, max_bytes: int) -> Iterator[bytes]:
    """The file's bytes, block by block, unpacked if it begins as gzip does.

    Raises:
        FileTooLarge: more than ``max_bytes`` bytes, packed or unpacked.
        FileUnreadable: gzip that is broken or cut off.
    """
    size = path.stat().st_size
    if size > max_bytes:
        raise FileTooLarge(f"the file has {size} bytes; at most {max_bytes} are allowed")
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        yield from _unpack(file, max_bytes) if packed else iter(lambda: file.read(BLOCK_BYTES), b"")


def _unpack(file: BinaryIO, max_bytes: int) -> Iterator[bytes]:
    unpacked = 0
    try:
        for block in _inflate(file):
            unpacked += len(block)
            if unpacked > max_bytes:
                raise FileTooLarge(
                    f"the file unpacks to more than {max_bytes} bytes, and was read no further; "
                    f"at most {max_bytes} are allowed"
                )
            yield block
    except (EOFError, zlib.error) as exc:
        raise FileUnreadable(f"the file is gzip that breaks after {unpacked} unpacked bytes: {exc}") from exc


def _inflate(file: BinaryIO) -> Iterator[bytes]:
    """What gzip unpacks to, also if it is several members one after the other (RFC 1952), with zeros behind them.

    ``gzip.GzipFile`` reads the name in a header byte by byte, and a header may be a gigabyte.

    Raises:
        EOFError: it is cut off.
        zlib.error: it is broken.
    """
    packed = b""
    for _ in range(MAX_MEMBERS):
        inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        full = False
        while not inflate.eof:
            packed = packed or (b"" if full else file.read(BLOCK_BYTES))
            if not packed and not full:
                raise EOFError("it is cut off")
            block = inflate.decompress(packed, BLOCK_BYTES)
            packed, full = inflate.unconsumed_tail, len(block) == BLOCK_BYTES
            if block:
                yield block
        packed = inflate.unused_data.lstrip(b"\x00")
        while not packed:
            read = file.read(BLOCK_BYTES)
            if not read:
                return
            packed = read.lstrip(b"\x00")
    raise zlib.error(f"it has more than {MAX_MEMBERS} members")


def sample(stream: Iterator[bytes]) -> tuple[bytes, bool, Iterator[bytes]]:
    """The first bytes of a stream, whether they are all of it, and the stream with them.

    Raises:
        FileEmpty: there are none.
        FileUnreadable: they are the beginning of something that is no text.
    """
    read: list[bytes] = []
    while sum(map(len, read)) < SAMPLE_BYTES and (block := next(stream, b"")):
        read.append(block)
    sample = b"".join(read)
    if not sample:
        raise FileEmpty("The file is empty. Add a header line and at least one row.")
    _refuse_others(sample)
    return sample, len(sample) < SAMPLE_BYTES, itertools.chain((sample,), stream)


def _refuse_others(sample: bytes) -> None:
    for beginning, what in _OTHERS:
        if beginning.match(sample):
            raise FileUnreadable(f"The file is {what}. Send CSV, TSV or JSON Lines, plain or gzip.")
