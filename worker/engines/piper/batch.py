"""A batch of utterances through a strategy: split into rows, spoken, put together again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

from stentor.errors import SynthesisError
from worker.engines.contract import Speech, Utterance
from worker.engines.piper.config import VoiceConfig
from worker.engines.piper.finish import Sound, Spoken, join
from worker.engines.piper.latents import Row

if TYPE_CHECKING:
    from worker.engines.piper.phonemes import PiperUtterance
    from worker.engines.piper.strategies import Strategy


def speak(batch: Sequence[Utterance], strategy: Strategy, config: VoiceConfig) -> list[Speech | SynthesisError]:
    """One answer per utterance, in order."""
    utterances = [cast("PiperUtterance", utterance) for utterance in batch]
    rows = [_rows(utterance, config) for utterance in utterances]
    answers = iter(strategy.speak([row for sentences in rows for row in sentences]))
    sound = _sound(config, strategy.hop_samples)
    return [
        _answer(utterance, sentences, answers, sound) for utterance, sentences in zip(utterances, rows, strict=True)
    ]


def _rows(utterance: PiperUtterance, config: VoiceConfig) -> list[Row]:
    inference = config.inference
    return [
        Row(
            ids=ids,
            speaker_id=utterance.speaker_id,
            seed=(utterance.segment.speech.seed, number),
            length_scale=inference.length_scale / utterance.segment.speech.speed,
            noise_scale=inference.noise_scale,
            noise_w_scale=inference.noise_w,
        )
        for number, ids in enumerate(utterance.sentences)
    ]


def _sound(config: VoiceConfig, hop_samples: int) -> Sound:
    spaces = config.phoneme_id_map.get(" ", [])
    return Sound(
        sample_rate_hz=config.audio.sample_rate,
        hop_samples=hop_samples,
        spoken_ids=config.spoken_ids,
        space_id=spaces[0] if spaces else None,
    )


def _answer(
    utterance: PiperUtterance, rows: Sequence[Row], answers: Iterator[Spoken | SynthesisError], sound: Sound
) -> Speech | SynthesisError:
    spoken: list[Spoken] = []
    error: SynthesisError | None = None
    for _ in rows:
        answer = next(answers)
        if isinstance(answer, SynthesisError):
            error = error or answer
        else:
            spoken.append(answer)
    if error is not None:
        return error
    try:
        return join(utterance.segment.text, list(zip(utterance.sentences, spoken, strict=True)), sound)
    except SynthesisError as exc:
        return exc
